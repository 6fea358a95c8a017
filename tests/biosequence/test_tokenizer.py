"""Alphabets and tokenizers: published ids, round trips without loss, and refusals that name the place."""

import csv
import gzip
import itertools
import json
import random
import time
import zipfile

import numpy as np
import pytest

from xlstm_apps.biosequence import Alphabet, get_alphabet, get_tokenizer
from xlstm_apps.biosequence.alphabets import ELEMENTS

NAMES = ("dna", "protein", "smiles", "text")


def test_published_ids():
    dna, protein = get_tokenizer("dna"), get_tokenizer("protein")
    assert dna.encode("ACGTN") == [7, 8, 9, 10, 11] and dna.vocab_size == 12
    assert (dna.pad_id, dna.bos_id, dna.eos_id, dna.mask_id, dna.unk_id) == (4, 2, 1, 3, 6)
    assert protein.encode("LAGVSERTIDPKQNFYMHWCXBUZO.-") == list(range(4, 31)) and protein.vocab_size == 38
    assert (protein.pad_id, protein.bos_id, protein.eos_id, protein.mask_id) == (1, 0, 2, 32)
    assert protein.alphabet.tokens[33:] == tuple(f"<mask-{k}>" for k in range(1, 6))


@pytest.mark.parametrize("name", NAMES)
def test_alphabet_is_json_and_specials_are_no_symbols(name):
    alphabet = get_alphabet(name)
    again = Alphabet.from_dict(json.loads(json.dumps(alphabet.to_dict())))
    assert again == alphabet and hash(again) == hash(alphabet) and len({get_alphabet(n).sha for n in NAMES}) == 4
    symbols = set(alphabet.symbols.values())
    assert not symbols & {alphabet.pad, alphabet.bos, alphabet.eos, alphabet.mask, alphabet.unk, alphabet.separator}
    assert set(alphabet.definite) <= symbols and len(set(alphabet.tokens)) == len(alphabet)


@pytest.mark.parametrize("name", ["dna", "protein"])
def test_random_strings_come_back(name):
    tokenizer, rng = get_tokenizer(name), random.Random(0)
    for length in range(30):
        text = "".join(rng.choices(list(tokenizer.alphabet.symbols), k=length))
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) == length
        np.testing.assert_array_equal(tokenizer.encode_bytes(np.frombuffer(text.encode(), np.uint8)), ids)


@pytest.mark.parametrize("text", ["", "plain", "Straße, naïve, 漢字, 🧬", "\x00\t\r\n\x7f"])
def test_text_is_bytes(text):
    tokenizer = get_tokenizer("text")
    assert tokenizer.encode(text) == list(text.encode()) and tokenizer.decode(tokenizer.encode(text)) == text


SMILES = [
    r"F/C=C\F",
    "C[C@@H](N)C(=O)O",
    "N[C@H](C)C(=O)O",
    "[13CH4]",
    "[2H]O[2H]",
    "[Na+].[Cl-]",
    "[O-][n+]1ccccc1",
    "C%12CCCCC%12",
    "C%(100)CC%(100)",
    "[nH]1cccc1",
    "[se]1cccc1",
    "[Co@OH12](F)(Cl)(Br)(I)(C)S",
    "F[Po@SP1](Cl)(Br)I",
    "NC(Br)=[C@AL1]=C(O)C",
    "[C@TH2](F)(Cl)(Br)I",
    "[As@TB15](F)(Cl)(Br)(N)S",
    "[CH3:12]",
    "[Cu+2]",
    "[Ti++++]",
    "[OH3+]",
    "*C",
    "[*:1]C",
    "C=1CCCCC-1",
    "C$C",
    "[U](F)(F)(F)(F)(F)F",
    "[Og]",
    "[Cn]",
    "CC>>CO",
    "[NH3]->[Pt]",
    "C:1:C:C:C:C:C1",
    "CSc1nc(Cn2cnoc2)sc1",
]


@pytest.mark.parametrize("text", SMILES)
def test_smiles_come_back(text):
    tokenizer = get_tokenizer("smiles")
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and tokenizer.unk_id not in ids
    np.testing.assert_array_equal(tokenizer.encode_bytes(np.frombuffer(text.encode(), np.uint8)), ids)


def test_atoms_are_read_by_where_they_stand():
    tokenizer = get_tokenizer("smiles")

    def cut(text):
        return [tokenizer.alphabet.tokens[i] for i in tokenizer.encode(text)]

    assert cut("CSc1") == ["C", "S", "c", "1"] and cut("[Sc+3]") == ["[", "Sc", "+", "3", "]"]
    assert cut("Cn") == ["C", "n"] and cut("[Cn]") == ["[", "Cn", "]"]
    assert cut("[C@@H]") == ["[", "C", "@@", "H", "]"] and cut("[13CH3]") == ["[", "1", "3", "C", "H", "3", "]"]
    assert tokenizer.separator_id not in tokenizer.encode("[Na+].[Cl-]")


@pytest.mark.parametrize("element", ELEMENTS)
def test_every_element_comes_back(element):
    tokenizer = get_tokenizer("smiles")
    for text in (f"[{element}]", f"[12{element}H2+3:4]", f"[{element}@@H-]", f"C[{element}](C)C"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and tokenizer.alphabet.symbols[element] in ids


@pytest.mark.parametrize(
    ("name", "column"), [("bbbp.csv", "smiles"), ("lipo.csv", "smiles"), ("moses_test.csv.gz", "SMILES")]
)
def test_real_molecules_come_back(shared_data, name, column):
    path = shared_data(f"smiles/{name}")
    tokenizer = get_tokenizer("smiles")
    with (gzip.open if name.endswith(".gz") else open)(path, "rt") as file:
        molecules = [row[column].strip() for row, _ in zip(csv.DictReader(file), range(2000), strict=False)]
    assert len(molecules) > 1000
    for text, ids in zip(molecules, tokenizer.encode_batch(molecules), strict=True):
        assert tokenizer.decode(ids) == text


def strings_of(path):
    """Every string of a file of molecules; a line of several, with dots between them, is one."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield from (line.strip() for line in archive.read(name).decode().splitlines() if line.strip())
        return
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        for row in csv.DictReader(file):
            yield (row.get("smiles") or row["SMILES"]).strip()


@pytest.mark.slow
def test_every_molecule_of_the_data_comes_back(shared_data):
    tokenizer = get_tokenizer("smiles")
    files = sorted(shared_data("smiles").iterdir())
    counts = {path.name: 0 for path in files}
    for path in files:
        strings = strings_of(path)
        while some := list(itertools.islice(strings, 1000)):
            counts[path.name] += len(some)
            text = ".".join(some)  # together, which takes a tenth of the time; no token reaches beyond a dot
            assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(files) == 10 and min(counts.values()) >= 50 and sum(counts.values()) > 2_000_000


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("dna", "ACXT", ["'X'", "position 3", "A C G T N"]),
        ("dna", "ACgT", ["'g'", "position 3", "upper"]),
        ("dna", "ACRT", ["'R'", "position 3", "write N"]),
        ("dna", "ACUT", ["'U'", "write T"]),
        ("dna", "AC T", ["' '", "position 3"]),
        ("dna", "A\u0421T", ["'\u0421'", "position 2"]),  # Cyrillic Es looks like C
        ("protein", "MKJ", ["'J'", "position 3", "write X"]),
        ("protein", "MK*", ["'*'", "position 3"]),
        ("text", "ab\ud800", ["position 3"]),
        ("smiles", "CCX", ["'X'", "position 3"]),
        ("smiles", "C[Qq]C", ["'Q'", "position 3", "brackets"]),
        ("smiles", "CC[NH", ["'['", "position 3", "not closed"]),
        ("smiles", "CC@", ["'@'", "position 3"]),
        ("smiles", "CC name", ["' '", "position 3"]),
        ("smiles", "C[C[N]", ["position 2", "not closed"]),
        ("smiles", "CC]", ["']'", "position 3"]),
    ],
)
def test_refusals_name_character_and_place(name, text, parts):
    with pytest.raises(ValueError) as caught:
        get_tokenizer(name).encode(text)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value), caught.value
    with pytest.raises(ValueError, match="string 2: "):
        get_tokenizer(name).encode_batch(["C", text])


def test_folding_reads_what_files_hold():
    dna = get_tokenizer("dna")
    folded = dna.fold(np.frombuffer(b"acgtuRyn-.N", np.uint8))
    assert dna.decode(folded) == "ACGTTNNNNNN"
    with pytest.raises(ValueError, match="'E' at position 2"):
        dna.fold(np.frombuffer(b"AE", np.uint8))
    protein = get_tokenizer("protein")
    assert protein.decode(protein.fold(np.frombuffer(b"mkJbz", np.uint8))) == "MKXBZ"


def test_decode_leaves_specials_out_or_names_them():
    dna, text = get_tokenizer("dna"), get_tokenizer("text")
    assert dna.decode([2, 7, 3, 8, 1, 4]) == "AC" and dna.decode([2, 7, 3], specials=True) == "[BOS]A[MASK]"
    assert text.decode([0xFE, 104, 105, 0xFF]) == "hi" and text.decode([104, 0xFC], specials=True) == "h[MASK]"
    assert text.decode([0xE9, 104]) == "\ufffdh"  # a model may make up what is no UTF-8
    for bad in ([12], [-1], [0.5]):
        with pytest.raises(ValueError, match="whole numbers from 0 to 11"):
            dna.decode(bad)


def test_complement_covers_iupac():
    dna = get_alphabet("dna")
    assert "".join(dna.pairs[char] for char in "ACGTRYSWKMBDHVN") == "TGCAYRSWMKVHDBN"
    for char, members in dna.ambiguity.items():
        if char not in "-.":  # the complement of a set is the set of complements
            paired = {dna.pairs[m] for m in members}
            assert paired == set(dna.ambiguity[dna.pairs[char]])
    ids = np.array([2, 7, 8, 9, 10, 11, 1], np.uint8)
    np.testing.assert_array_equal(dna.reverse_complement(ids), [1, 11, 7, 8, 9, 10, 2])
    with pytest.raises(ValueError, match="only DNA"):
        get_alphabet("protein").reverse_complement(ids)


def test_unknown_names_and_broken_alphabets():
    with pytest.raises(ValueError, match="dna, protein, smiles, text"):
        get_tokenizer("rna")
    content = get_alphabet("dna").to_dict()
    with pytest.raises(ValueError, match="special or a symbol"):
        Alphabet.from_dict({**content, "definite": [6, 7]})
    with pytest.raises(ValueError, match="five ids"):
        Alphabet.from_dict({**content, "bos": 4})


def test_a_genome_is_read_in_a_blink():
    raw = np.random.default_rng(0).choice(np.frombuffer(b"ACGTacgtN", np.uint8), 4_600_000)
    tokenizer = get_tokenizer("dna")
    begin = time.process_time()
    tokenizer.fold(raw)
    assert time.process_time() - begin < 1
