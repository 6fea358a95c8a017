"""Files of molecules for tests, and what a corpus makes of them."""

import gzip

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder, get_tokenizer
from xlstm_apps.datasets.sequences.config import LabelledSource
from xlstm_apps.datasets.sequences.loading import load_corpus

SMILES = get_alphabet("smiles")
ATOM = "    {}.0000    0.0000    0.0000 {:3s} 0  0  0  0  0  0  0  0  0  0  0  0\n"


def mol_block(other, order=1, more="", title="x"):
    atoms = ATOM.format(0, "C") + ATOM.format(1, other)
    return f"{title}\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n{atoms}  1  2{order:3d}  0\n{more}M  END\n"


def write(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def corpus_of(folder, path, **options):
    data = LabelledSource(path=[path], **options)
    corpus = load_corpus(data, SMILES, folder / "corpus", encode=file_encoder(SMILES), labels=True)
    decode = get_tokenizer("smiles").decode
    return corpus, [decode(corpus[i]) for i in range(len(corpus))]


def rejects_of(folder, path):
    corpus, smiles = corpus_of(folder, path, on_bad="skip")
    rows = (corpus.path / "rejects.tsv").read_text().splitlines()[1:]
    return smiles, [tuple(row.split("\t")[i] for i in (0, 3, 4)) for row in rows]
