"""Groups of molecules that a split must not part."""

from xlstm_apps.datasets.sequences.corpus import Corpus

from .chemistry import molecule, quiet
from .fragments import scaffold


def scaffolds_of(corpus: Corpus) -> dict[str, str]:
    """Murcko scaffold of each record of a corpus of SMILES by its name; molecules without rings have none.

    Raises:
        ValueError: A record is no molecule; RDKit is not installed.
    """
    tokens, groups = corpus.alphabet["tokens"], {}
    with quiet():
        for number, name in enumerate(corpus.ids):
            smiles = "".join(tokens[i] for i in corpus[number].tolist())
            mol = molecule(smiles)
            if mol is None:
                raise ValueError(f"record {name!r}: {smiles} is no molecule, so it has no scaffold; leave it out")
            found = scaffold(mol)
            if found is not None:
                groups[name] = found
    return groups
