"""Files of molecules, good and bad: every row of what a chemist may hand over has its answer."""

import pytest
from molecule_files import SMILES, corpus_of, mol_block, write

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder
from xlstm_apps.datasets.molecules import read_smi
from xlstm_apps.datasets.molecules.chemistry import chemistry, molecule
from xlstm_apps.datasets.sequences.config import LabelledSource, SequenceSource
from xlstm_apps.datasets.sequences.loading import load_corpus, open_corpus, read_source
from xlstm_apps.datasets.sequences.reading import sniff
from xlstm_apps.recipes._sequence_validate import inspect

pytest.importorskip("rdkit", reason="needs RDKit")

LIST = """"smiles" name
CCO "ethanol"
OCC |$R1;;$| the same

# a comment
CC(=O)[O-].[Na+]\tsodium acetate\tmore
F/C=C\\F
"""

SDF = """ethanol
  any

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 C   0  0
    2.0000    0.0000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
> <solubility>
-0.5

$$$$
five bonds
  any

  6  5  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 F   0  0
    2.0000    0.0000    0.0000 F   0  0
    3.0000    0.0000    0.0000 F   0  0
    4.0000    0.0000    0.0000 F   0  0
    5.0000    0.0000    0.0000 F   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
  1  6  1  0
M  END
$$$$
nothing of this
can be read
$$$$
"""


@pytest.mark.parametrize("name", ["list.smi", "list.smi.gz"])
def test_a_list_of_smiles_has_names_comments_and_a_header(tmp_path, name):
    records = list(read_smi(write(tmp_path, name, LIST)))
    assert [r.sequence.decode() for r in records] == ["CCO", "OCC", "CC(=O)[O-].[Na+]", "F/C=C\\F"]
    assert [r.id for r in records] == ["ethanol", "the same", "sodium acetate", "line_7"]
    assert [r.line for r in records] == [2, 3, 6, 7]


def test_molecules_become_canonical_and_repeats_are_counted(tmp_path):
    corpus, written = corpus_of(tmp_path, write(tmp_path, "list.smi", LIST))
    assert written == ["CCO", "CC(=O)[O-].[Na+]", "F/C=C\\F"]
    assert corpus.report["records"] == 4 and corpus.report["left_out"] == {"repeated": 1}
    rejects = (corpus.path / "rejects.tsv").read_text().splitlines()
    assert rejects == ["id\tline\tsmiles\treason\tdetail", "the same\t3\tOCC\trepeated\tCCO"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"repeats": "keep"}, ["CCO", "CCO", "CC(=O)[O-].[Na+]", "F/C=C\\F"]),
        ({"salts": "largest"}, ["CCO", "CC(=O)[O-]", "F/C=C\\F"]),
        ({"salts": "drop"}, ["CCO", "F/C=C\\F"]),
        ({"stereo": "strip"}, ["CCO", "CC(=O)[O-].[Na+]", "FC=CF"]),
        ({"standardise": False}, ["CCO", "OCC", "CC(=O)[O-].[Na+]", "F/C=C\\F"]),
    ],
)
def test_policies(tmp_path, options, expected):
    assert corpus_of(tmp_path, write(tmp_path, "list.smi", LIST), **options)[1] == expected


def test_repeats_may_be_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"line 3: record 'the same': the molecule CCO has come before; set data.rep"):
        corpus_of(tmp_path, write(tmp_path, "list.smi", LIST), repeats="error")


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1CC", "syntax: unclosed ring"),
        ("CC(C", "syntax: near position 3"),
        ("CN(C)(C)C", "valence: Explicit valence for atom # 1 N, 4"),
        ("c1cccc1", "aromaticity: Can't kekulize mol"),
        ("cC", "aromaticity: non-ring atom 0 marked aromatic"),
        ("C\u2212C", r"characters: '.' \(U\+2212\) at position 2 is not ASCII"),
        ("[H][H]", "atoms: no heavy atom"),
        ("CC(=O)O>>CCO", "notation: not the SMILES of a molecule: this is a reaction"),
        ("InChI=1S/CH4/h1H4", "notation: .* this is an InChI"),
        ("1$CCO", "notation: .* this is a tag of activity before a molecule, as FS-Mol has it; bring tags as a column"),
        ("C[Xx]", "syntax: near position 3"),
        ("C" * 60_000, "length: 60,000 characters"),  # RDKit would end the process
    ],
)
def test_what_is_no_molecule_is_named_and_may_be_left_out(tmp_path, smiles, reason):
    path = write(tmp_path, "bad.smi", f"CCO good\n{smiles} bad\n")
    with pytest.raises(ValueError, match=f"bad.smi line 2: record 'bad': {reason}.*set data.on_bad to 'skip'"):
        corpus_of(tmp_path, path)
    assert not (tmp_path / "corpus").exists()
    corpus, written = corpus_of(tmp_path, path, on_bad="skip")
    assert written == ["CCO"] and corpus.report["left_out"] == {reason.partition(":")[0]: 1}
    row = (corpus.path / "rejects.tsv").read_text().splitlines()[1].split("\t")
    assert row[:4] == ["bad", "2", smiles, reason.partition(":")[0]]


def test_what_stands_beside_a_smiles_is_not_part_of_the_molecule(tmp_path):
    mapped = "[CH3:1][CH2:2][OH:3] a\n[13CH3:4][CH3:1] b\n[*:1]CC c\n"
    assert corpus_of(tmp_path, write(tmp_path, "mapped.smi", mapped))[1] == ["CCO", "C[13CH3]", "CC[*:1]"]
    cells = 'smiles,y\n"CCO |$_R1;;$|",1\nCCN |&1:0|,2\n'
    assert corpus_of(tmp_path, write(tmp_path, "extended.csv", cells))[1] == ["CCO", "CCN"]
    with pytest.raises(ValueError, match="row_1': syntax: a blank at position 4; bring names and the like in columns"):
        corpus_of(tmp_path, write(tmp_path, "named.csv", "smiles,y\nCCO ethanol,1\n"))


def test_lists_and_tables_that_are_something_else(tmp_path):
    assert corpus_of(tmp_path, write(tmp_path, "structures.smi", SDF), on_bad="skip")[1] == ["CCO"]
    for header in ("Compound_ID\tSMILES", "name smiles", "id,smiles,y"):
        path = write(tmp_path, "ids.smi", f"{header}\nC1 CCO\n")
        with pytest.raises(ValueError, match=r"ids.smi line 1: .* names columns, and SMILES are not the first"):
            corpus_of(tmp_path, path)
    table = write(tmp_path, "affinity.csv", "sequence,canonical_smiles,smiles,y\nMKTAYIAKQR,CCN,OCC,1\n")
    assert corpus_of(tmp_path, table)[1] == ["CCO"]  # the drug, not its target


def test_an_empty_cell_is_no_molecule(tmp_path):
    path = write(tmp_path, "table.csv", "smiles,y\nCCO,1\n,2\n")
    with pytest.raises(ValueError, match="line 3: record 'row_2': empty: no SMILES"):
        corpus_of(tmp_path, path)


def test_exotic_but_real_molecules_are_read(tmp_path):
    exotic = ["*C", "[13CH4]", "C%(100)CC%(100)", "[Fe+2]", "N->[Cu]", "[CH3:7]C", "[Og]"]
    _, written = corpus_of(tmp_path, write(tmp_path, "e.smi", "\n".join(exotic)))
    assert molecule("C" * 60_000) is None
    assert written == ["*C", "[13CH4]", "C1CC1", "[Fe+2]", "[NH3]->[Cu]", "CC", "[Og]"]


def test_a_very_long_molecule_is_counted_where_a_length_is_set(tmp_path):
    path = write(tmp_path, "long.smi", f"{'C' * 500} wax\nCCO\n")
    corpus, written = corpus_of(tmp_path, path, max_length=100)
    assert written == ["CCO"] and corpus.report["left_out"] == {"longer than 100": 1}


def test_sdf_has_fields_and_says_what_it_cannot_read(tmp_path):
    path = write(tmp_path, "m.sdf", SDF)
    records = list(read_source(LabelledSource(path=[path], label_columns=["solubility"]), labels=True))
    assert [(r.id, r.line, r.label) for r in records] == [
        ("ethanol", 1, -0.5),
        ("five bonds", 15, None),
        ("nothing of this", 32, None),
    ]
    with pytest.raises(ValueError, match=r"m.sdf line 15: record 'five bonds': valence: .* C, 5, is greater"):
        corpus_of(tmp_path, path)
    corpus, written = corpus_of(tmp_path, path, on_bad="skip")
    assert written == ["CCO"] and corpus.report["left_out"] == {"valence": 1, "empty": 1}
    with pytest.raises(ValueError, match="no column 'logp'; there are id, solubility, smiles"):
        corpus_of(tmp_path, path, label_columns=["logp"])


def test_labels_that_contradict_each_other_are_counted(tmp_path):
    path = write(tmp_path, "t.csv", "smiles,y\nCCO,1\nOCC,2\nC(O)C,1\n")
    corpus, _ = corpus_of(tmp_path, path)
    assert corpus.labels == [1]
    assert "1 of 2 repeated molecules have another label than the first, which counts" in corpus.report["notes"]


def test_validate_counts_everything(tmp_path):
    found = inspect(SequenceSource(path=[write(tmp_path, "v.smi", f"{LIST}C1CC open\n")]), "smiles")
    assert found["exit_code"] == 1 and found["left_out"] == {"repeated": 1, "syntax": 1} and found["records"] == 5


@pytest.mark.parametrize(
    ("alphabet", "options", "message"),
    [
        ("dna", {"salts": "drop"}, "data.salts is for molecules, and the alphabet is dna"),
        ("smiles", {"stereo": "strip", "standardise": False}, "data.stereo does nothing with data.standardise false"),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, alphabet, options, message):
    codes = get_alphabet(alphabet)
    data = SequenceSource(path=[write(tmp_path, "list.smi", LIST)], **options)
    with pytest.raises(ValueError, match=message):
        load_corpus(data, codes, tmp_path / "c", encode=file_encoder(codes))


def test_a_list_without_an_ending_asks_for_its_format(tmp_path):
    path = write(tmp_path, "list.txt", "CCO\nCC\n")
    with pytest.raises(ValueError, match=r"a list of SMILES needs data.format smi"):
        sniff(path)
    assert corpus_of(tmp_path, path, format="smi")[1] == ["CCO", "CC"]


def test_amines_are_no_dna(tmp_path):
    path = write(tmp_path, "amines.smi", "CCCCN\nCCCCCN\nCCCCCCN\nNCCCCCCN\n")
    assert len(corpus_of(tmp_path, path)[1]) == 4
    with pytest.raises(ValueError, match="look like DNA; use the alphabet 'dna'"):
        corpus_of(tmp_path, write(tmp_path, "dna.smi", "ACGTACGATTACAGATTACATTTT\n"))


def test_without_rdkit_there_is_advice(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rdkit", None)
    path = write(tmp_path, "list.smi", LIST)
    with pytest.raises(ValueError, match=r"pip install 'xlstm-apps\[chem\]'; data.standardise false reads"):
        corpus_of(tmp_path, path)
    assert corpus_of(tmp_path, path, standardise=False)[1][0] == "CCO"


def test_who_asks_about_molecules_gets_an_answer_for_each(tmp_path):
    data = SequenceSource(path=[write(tmp_path, "list.smi", LIST)])
    with open_corpus(data, SMILES, encode=file_encoder(SMILES)) as corpus:
        assert len(corpus) == 4 and (corpus[0] == corpus[1]).all()


def test_groups_of_stereo_centres_are_left_off_and_counted(tmp_path):
    written = "C[C@H](O)F |&1:1| both\nC[C@H](N)F |a:1|\nCCO |$_R1;;$|\nOC |broken\n"
    left_off = "3 extensions between bars (CXSMILES) left off, 1 with groups of stereo centres (& or o)"
    for name, content in {
        "list.smi": written,
        "cells.csv": 'smiles,y\n"C[C@H](O)F |a:3,&1:1|",1\n"C[C@H](N)F |a:1|",0\n"CCO |$_R1;;$|",1\nCO,1\n',
    }.items():
        corpus, smiles = corpus_of(tmp_path, write(tmp_path, name, content))
        assert smiles == ["C[C@H](O)F", "C[C@H](N)F", "CCO", "CO"]
        assert any(note.startswith(left_off) for note in corpus.report["notes"])
    Chem = chemistry()
    mol = Chem.MolFromSmiles("C[C@H](O)[C@@H](F)Cl |&1:1,o2:3|")
    block = Chem.MolToV3KMolBlock(mol) + "$$$$\n" + Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")) + "$$$$\n"
    for options in ({}, {"standardise": False}):
        corpus, smiles = corpus_of(tmp_path, write(tmp_path, "groups.sdf", block), **options)
        assert smiles == ["C[C@H](O)[C@@H](F)Cl", "CCO"]
        assert any(note.startswith("1 extensions") for note in corpus.report["notes"]) == (not options)


def test_patterns_are_no_molecules(tmp_path):
    patterns = [mol_block("L", more="  2 F    2   7   8\n"), mol_block("C", 8), mol_block("C", 5), mol_block("O")]
    patterns += [mol_block(name) for name in ("A", "Q", "X")]
    patterns += [mol_block("L", more="M  ALS   2  2 F N   O   \n")]  # codespell:ignore als
    path = write(tmp_path, "x.sdf", "".join(block + "$$$$\n" for block in (*patterns, mol_block("R", title="y"))))
    corpus, smiles = corpus_of(tmp_path, path, on_bad="skip")
    assert smiles == ["CO", "*C"] and corpus.report["left_out"] == {"notation": 7}
    with pytest.raises(ValueError, match=r"line 1: record 'a': notation: .* this is SMARTS, a pattern of many"):
        corpus_of(tmp_path, write(tmp_path, "x.smi", "[#6]1:[#6]:[#6]:[#6]:[#6]:[#6]:1 a\n"))
    with pytest.raises(ValueError, match="'row_1': syntax: a blank at position 3"):
        corpus_of(tmp_path, write(tmp_path, "x.csv", 'smiles,y\n"CC\nO",1\n'))  # RDKit reads up to the line end


def test_structures_of_one_record_are_not_dropped(tmp_path):
    both = mol_block("O") + mol_block("N")
    with pytest.raises(
        ValueError, match=r"x.sdf line 16: a second structure in one record; a line \$\$\$\$ parts them"
    ):
        corpus_of(tmp_path, write(tmp_path, "x.sdf", both))
    fields = mol_block("O") + "> <other>\n" + mol_block("N").rstrip() + "\n\n$$$$\n"
    assert corpus_of(tmp_path, write(tmp_path, "y.sdf", fields))[1] == ["CO"]
