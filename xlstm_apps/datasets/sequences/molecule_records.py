"""Molecules on their way into a corpus, and those of several sets in one that was prepared."""

from ..molecules.curation import ELSEWHERE, Curator
from ..molecules.standardise import MoleculePolicy
from .codes import Codes
from .config import SequencePolicy, SequenceSource
from .corpus import Corpus


def curator(data: SequenceSource, codes: Codes) -> Curator | None:
    """What makes molecules canonical, where the alphabet is theirs and the section wants it.

    Raises:
        ValueError: RDKit is not installed.
    """
    if codes.name != "smiles" or not data.standardise:
        return None
    try:
        policy = MoleculePolicy(salts=data.salts, stereo=data.stereo)
        by_group = _families(data)  # a molecule may be of several sets
        return Curator(policy, on_bad=data.on_bad, repeats=data.repeats, by_group=by_group)
    except ValueError as error:
        raise ValueError(f"{error}; data.standardise false reads SMILES as they stand, without it") from None


def check_molecules(data: SequenceSource, codes: Codes) -> None:
    """Refuse options of molecules where there are none, or where they are not looked at.

    Raises:
        ValueError: names the option.
    """
    for name in ("standardise", "salts", "stereo", "repeats"):
        if getattr(data, name) == getattr(SequencePolicy, name):
            continue
        if codes.name != "smiles":
            raise ValueError(f"data.{name} is for molecules, and the alphabet is {codes.name}; leave it out")
        if name != "standardise" and not data.standardise:
            raise ValueError(f"data.{name} does nothing with data.standardise false; leave one of them out")


def check_sets(corpus: Corpus, data: SequenceSource, repeats: bool) -> None:
    """Refuse a prepared corpus that was made with families where there are none now, or the other way round, if it
    matters: a molecule may be of several sets, and else is taken once.

    Args:
        corpus: Of any alphabet.
        data: Says whether families are read.
        repeats: Molecules may come twice, since each is only asked about.

    Raises:
        ValueError: molecules of several groups were kept in one; or molecules stand in it twice, which could fall into
            two parts of a split.
    """
    elsewhere = corpus.report["left_out"].get(ELSEWHERE, 0)
    if _families(data) and elsewhere:
        raise ValueError(
            f"data.families: {elsewhere:,} molecules of {corpus.path} are of several groups and were kept in one, "
            "since it was prepared without families; give the option to `prepare`"
        )
    made = corpus.manifest["policy"]
    once = made.get("standardise") and made.get("repeats") == "first" and data.repeats == "first"
    if corpus.alphabet["name"] != "smiles" or _families(data) or repeats or not once:
        return
    if all(group is None for group in corpus.groups):
        return  # no sets, so each is there once
    twice = len(corpus) - len({corpus[number].tobytes() for number in range(len(corpus))})
    if twice:
        raise ValueError(
            f"{corpus.path} was prepared with families, and holds molecules of several ({twice:,}), which could fall "
            "into training and test; set data.families to group, or prepare it again without families"
        )


def _families(data: SequenceSource) -> bool:
    return getattr(data, "families", "none") != "none"
