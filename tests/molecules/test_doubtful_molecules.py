"""Files of molecules that can be read in two ways, or that say more than a SMILES: read right, counted, or refused."""

import pytest
from molecule_files import corpus_of, mol_block, rejects_of, write

from xlstm_apps.datasets.molecules import read_smi

pytest.importorskip("rdkit", reason="needs RDKit")


def test_bonds_that_are_of_no_known_kind(tmp_path):
    path = write(tmp_path, "x.smi", "C~C a\nCC:O b\nO~[Fe] c\nc1ccccc1:C d\n")
    smiles, rejects = rejects_of(tmp_path, path)
    assert smiles == ["[OH2]~[Fe]", "Cc1ccccc1"]  # a complex; and the last bond is single, since it is in no ring
    assert rejects == [
        ("a", "notation", "a bond of any kind (~) between atoms # 0 C and 1 C: this is SMARTS, a pattern of many"),
        ("b", "aromaticity", "an aromatic bond between atoms # 1 C and 2 O, and no aromatic ring has it"),
    ]
    block = mol_block("C", 4, title="y") + "$$$$\n" + mol_block("O") + "$$$$\n"
    assert rejects_of(tmp_path, write(tmp_path, "x.sdf", block))[1][0][1] == "aromaticity"


def test_structures_that_cannot_be_read_say_why(tmp_path):
    none = "none\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n"
    cut = mol_block("N").replace("M  END\n", "")
    odd = mol_block("N").replace("  2  1  0", "  3  1  0")
    blocks = [mol_block("O"), none, cut, odd]
    smiles, rejects = rejects_of(tmp_path, write(tmp_path, "x.sdf", "$$$$\n".join([*blocks, ""])))
    assert smiles == ["CO"] and {reason for _, reason, _ in rejects} == {"empty"}
    assert [why for *_, why in rejects] == [
        "a structure without atoms",
        "a structure that RDKit cannot read; the line 'M  END' is missing",
        "a structure that RDKit cannot read; see its counts line, atoms and bonds",
    ]
    with pytest.raises(ValueError, match=r"x\.sdf line 1: record 'none': empty: a structure without atoms; set data"):
        corpus_of(tmp_path, write(tmp_path, "x.sdf", none))


@pytest.mark.parametrize(
    ("begin", "what"), [("$RXN\n", "a file of a reaction"), ("@<TRIPOS>MOLECULE\n", "a Mol2 file")]
)
def test_files_of_structures_that_are_no_sdf(tmp_path, begin, what):
    with pytest.raises(ValueError, match=f"x.sdf: this is {what}"):
        corpus_of(tmp_path, write(tmp_path, "x.sdf", begin + mol_block("O")))


def test_alias_lines_are_not_read_and_counted(tmp_path):
    block = mol_block("C", more="A    2\nPh|$\n", title="y") + "$$$$\n" + mol_block("O") + "$$$$\n"
    corpus, smiles = corpus_of(tmp_path, write(tmp_path, "x.sdf", block))
    assert smiles == ["CC", "CO"]
    told = (
        "1 extensions between bars (CXSMILES) left off, 1 with names of atoms (labels, alias lines), which are read as"
    )
    assert any(note.startswith(told) for note in corpus.report["notes"])


def test_a_field_that_comes_twice_is_refused_where_it_is_asked_for(tmp_path):
    path = write(tmp_path, "x.sdf", mol_block("O") + "> <y>\n1\n\n> <y>\n2\n\n> <z>\n3\n\n$$$$\n")
    assert corpus_of(tmp_path, path, label_columns=["z"])[0].labels == [3]
    with pytest.raises(ValueError, match="two columns 'y'; rename one of them"):
        corpus_of(tmp_path, path, label_columns=["y"])


@pytest.mark.parametrize(
    "header", ["smi name", "rdkit_smiles id", "Canonical SMILES\tname", "CanonicalSMILES,x", '"Isomeric SMILES";name']
)
def test_headers_of_lists(tmp_path, header):
    assert corpus_of(tmp_path, write(tmp_path, "x.smi", f"{header}\nCCO\ta\n"))[1] == ["CCO"]


def test_quotes_and_names_of_lists(tmp_path):
    records = list(read_smi(write(tmp_path, "x.smi", 'CCO molecule 1\n"CCN |$a;;$|","an amine, x"\n"CC,O" y\n')))
    assert [(r.sequence, r.id) for r in records] == [
        (b"CCO", "molecule 1"),
        (b"CCN |$a;;$|", "an amine, x"),
        (b"CC,O", "y"),
    ]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("x,Canonical SMILES", 1),
        ("x,smiles ", 1),
        ("Structure,x", 0),
        ("smi,x", 0),
        ("x,PUBCHEM_SMILES", 1),
        ("CanonicalSMILES,IsomericSMILES", 1),
        ("smiles,rdkit_smiles", 0),
    ],
)
def test_columns_of_smiles(tmp_path, header, taken):
    assert corpus_of(tmp_path, write(tmp_path, "x.csv", f"{header}\nCCO,CCN\n"))[1] == [("CCO", "CCN")[taken]]


@pytest.mark.parametrize("header", ["SMILES,smiles", "rdkit_smiles,PUBCHEM_SMILES"])
def test_columns_that_may_both_hold_the_molecules(tmp_path, header):
    first, second = header.split(",")
    with pytest.raises(
        ValueError, match=f"2 columns may hold the sequences, '{first}', '{second}'; name one with data"
    ):
        corpus_of(tmp_path, write(tmp_path, "x.csv", f"{header}\nCCO,CCN\n"))
    assert corpus_of(tmp_path, write(tmp_path, "x.csv", f"{header}\nCCO,CCN\n"), sequence_column=second)[1] == ["CCN"]


def test_tokens_that_there_are_none_for_are_counted(tmp_path):
    path = write(tmp_path, "x.smi", "CCO a\n[CX4] b\nC[Xx] c\nC!C d\n")
    corpus, smiles = corpus_of(tmp_path, path, on_bad="skip", standardise=False)
    assert smiles == ["CCO"] and corpus.report["left_out"] == {"bad characters": 3}
    assert corpus.report["bad_characters"] == {"X": 2, "!": 1}


def test_names_that_are_no_utf_8_are_told(tmp_path):
    (tmp_path / "x.smi").write_bytes("CCO \xe9thanol\nCCN amine\n".encode("latin-1"))
    corpus, smiles = corpus_of(tmp_path, str(tmp_path / "x.smi"))
    assert smiles == ["CCO", "CCN"] and any(note.startswith("1 names are not UTF-8") for note in corpus.report["notes"])
