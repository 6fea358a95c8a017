"""Which split a `data` section asks for, and that split made."""

from dataclasses import replace

import numpy as np

from ..molecules.splitting import scaffolds_of
from .config import SequenceData
from .corpus import Corpus
from .identity import MOST_SYMBOLS, identity_clusters
from .spans import Spans
from .splits import (
    Split,
    Stretch,
    read_clusters,
    split_at_random,
    split_by_contig,
    split_by_group,
    split_by_parts,
    split_by_region,
    split_by_stretch,
)

_FEW = 20
"""Records below which, counted by their length, a split cuts within them."""
_FEW_FAMILIES = 10
"""Families below which a split cuts within them."""
IDENTITY = 0.5
"""Share of equal residues from which proteins stay in one part where nobody says."""
IDENTITY_IN_FAMILY = 0.7
"""The same where families are cut, whose members are all somewhat alike."""
_NEEDS = {
    "contig": ("val_contigs", "test_contigs"),
    "region": ("val_regions", "test_regions"),
    "cluster": ("clusters_path",),
}


def split_corpus(data: SequenceData, corpus: Corpus, *, whole: bool = False) -> Split:
    """Training, validation and test as the section says.

    Where a part of the validation is not named (by contigs, regions or a column), it is taken from what is for
    training: from the end of every record, or whole records at random.

    Args:
        data: The `data` section.
        corpus: The sequences.
        whole: Records are never cut, as where each has one label.

    Raises:
        ValueError: Options that exclude each other or the split asked for; nothing is left to train on.
    """
    rule = chosen_rule(data, corpus, whole)
    if whole and rule in ("stretch", "region"):
        raise ValueError(f"data.split: {rule} cuts records, and each has a label; use random, group, contig or column")
    _check_used(data, rule, whole)
    fractions = (data.val_fraction, data.test_fraction)
    if rule == "contig":
        split = split_by_contig(corpus, data.val_contigs or (), data.test_contigs or ())
    elif rule == "region":
        named = [
            [parse_region(corpus, text) for text in texts or ()] for texts in (data.val_regions, data.test_regions)
        ]
        split = split_by_region(corpus, *named, margin=data.margin)
    elif rule == "cluster":
        split = split_by_group(corpus, *fractions, data.split_seed, read_clusters(data.clusters_path or ""))
    elif rule == "identity":
        split = _by_identity(data, corpus)
    elif rule == "scaffold":
        split = _by_scaffold(data, corpus)
    elif rule == "group":
        split = split_by_group(corpus, *fractions, data.split_seed)
    elif rule == "column":
        split = _by_column(data, corpus)
    elif rule == "stretch":
        split = split_by_stretch(corpus, *fractions, data.margin)
    else:
        _check_enough(len(corpus), fractions)
        split = split_at_random(corpus, *fractions, data.split_seed)
    if len(split.val) == 0 and data.val_fraction > 0 and rule in ("contig", "region", "column"):
        split = _with_validation(corpus, split, data, whole)
    return split


def chosen_rule(data: SequenceData, corpus: Corpus, whole: bool = False) -> str:
    """The rule of the split, what `auto` means looked up.

    Raises:
        ValueError: options of one rule where another is asked for, or missing ones.
    """
    named = [rule for rule, options in _NEEDS.items() if any(getattr(data, name) for name in options)]
    if data.part_column is not None:
        named.append("column")
    if data.identity is not None:
        named.append("identity")
    if len(named) > 1:
        raise ValueError(f"data: options of the splits {' and '.join(named)} are given; leave one of them out")
    if data.split != "auto":
        if named and named[0] != data.split:
            raise ValueError(f"data.split is {data.split}, but options of {named[0]} are given; leave one out")
        if not named and data.split in _NEEDS:
            raise ValueError(f"data.split: {data.split} needs data.{' or data.'.join(_NEEDS[data.split])}")
        return data.split
    if named:
        return named[0]
    if any(part is not None for part in corpus.parts):
        return "column"
    families = {group for group in corpus.groups if group is not None}
    if families and (data.families == "none" or len(families) >= _FEW_FAMILIES):
        return "group"
    lengths = corpus.lengths.astype(float)
    if not whole and corpus.alphabet["name"] == "protein" and len(corpus) >= _FEW and lengths.sum() <= MOST_SYMBOLS:
        return "identity"
    return "stretch" if not whole and lengths.sum() ** 2 / (lengths**2).sum() < _FEW else "random"


def parse_region(corpus: Corpus, text: str) -> Stretch:
    """`chr1:1001-2000`, counted from 1, the end in it; or the name of a whole record.

    Raises:
        ValueError: another form, or no such record.
    """
    contig, colon, place = str(text).rpartition(":")
    first, dash, last = place.replace(",", "").replace("_", "").partition("-")
    if colon and dash and first.isdigit() and last.isdigit() and int(first) > 0:
        return contig, int(first) - 1, int(last)
    try:
        return str(text), 0, int(corpus.lengths[corpus.find(str(text))])
    except ValueError:
        raise ValueError(f"{text!r} is no region; write it as chr1:1001-2000, counted from 1") from None


def _check_used(data: SequenceData, rule: str, whole: bool) -> None:
    """Refuse options that the rule has no use for."""
    if data.margin and (whole or rule not in ("stretch", "region", "contig", "column")):
        raise ValueError(f"data.margin is for stretches cut out of records, and data.split is {rule}; leave it out")
    if rule in ("contig", "region", "column") and data.test_fraction != SequenceData.test_fraction:
        raise ValueError(
            f"data.test_fraction is not used where data.split is {rule}, which names the test; leave it out"
        )


def _check_enough(records: int, fractions: tuple[float, float]) -> None:
    """Every part needs a record."""
    parts = 1 + sum(fraction > 0 for fraction in fractions)
    if records < parts:
        raise ValueError(
            f"{records} records are too few for {parts} parts; bring more, set data.val_fraction or data.test_fraction "
            "to 0, or cut within the records with data.split: stretch"
        )


def _by_column(data: SequenceData, corpus: Corpus) -> Split:
    missing = [name for name, part in zip(corpus.ids, corpus.parts, strict=True) if part is None]
    if len(missing) == len(corpus):
        raise ValueError("data.split: column needs a column of train, val or test; name it with data.part_column")
    if missing:
        raise ValueError(
            f"{len(missing):,} records say no part, the first is {missing[0]!r}; write train, val or test for each"
        )
    return split_by_parts(corpus, [str(part) for part in corpus.parts])


def _by_identity(data: SequenceData, corpus: Corpus) -> Split:
    """Whole clusters of proteins that are alike; at random where all of them are, and nobody asked for clusters."""
    name = corpus.alphabet["name"]
    if name != "protein":
        raise ValueError(f"data.split: identity is for proteins, not {name}; cluster with MMseqs2, give clusters_path")
    identity = data.identity or (IDENTITY if data.families == "none" else IDENTITY_IN_FAMILY)
    found = identity_clusters([corpus[n] for n in range(len(corpus))], corpus.alphabet["definite"], identity)
    sizes = np.bincount(found)
    how = f"{len(sizes):,} clusters of about {identity:.0%} identity, the largest of {sizes.max():,} proteins"
    fractions = (data.val_fraction, data.test_fraction)
    clusters = {record: str(cluster) for record, cluster in zip(corpus.ids, found.tolist(), strict=True)}
    try:
        split = split_by_group(corpus, *fractions, data.split_seed, clusters)
    except ValueError:
        if data.split == "identity" or data.identity is not None:
            raise
        split = split_at_random(corpus, *fractions, data.split_seed)
        return replace(split, rule=f"random; the proteins are too much alike to part them by identity ({how})")
    return replace(split, rule=f"identity; {how}")


def _by_scaffold(data: SequenceData, corpus: Corpus) -> Split:
    """Molecules of one scaffold in one part; those without rings are each by themselves."""
    if corpus.alphabet["name"] != "smiles":
        raise ValueError(f"data.split: scaffold is for molecules, not for {corpus.alphabet['name']}")
    groups = scaffolds_of(corpus)
    if not groups:
        raise ValueError("data.split: scaffold needs molecules with rings, and there is none; use random")
    split = split_by_group(corpus, data.val_fraction, data.test_fraction, data.split_seed, groups)
    return replace(split, rule=f"scaffold; {len(set(groups.values())):,} scaffolds, none in two parts")


def _with_validation(corpus: Corpus, split: Split, data: SequenceData, whole: bool) -> Split:
    """The split with a validation part taken from training."""
    train = split.train
    if whole:
        order = np.random.default_rng(data.split_seed).permutation(len(train))
        count = max(1, round(len(train) * data.val_fraction))
        if count >= len(train):
            raise ValueError("too few records to take a validation part from training; set data.val_fraction to 0")
        val, rest = train[np.sort(order[:count])], train[np.sort(order[count:])]
        return Split(rest, val, split.test, f"{split.rule}; validation: records at random from training")
    cut = np.round(train.lengths * data.val_fraction).astype(np.int64)
    border = train.stop - cut
    val = Spans(train.record, border, train.stop, train.strand)[cut > 0]
    rest = Spans(train.record, train.start, np.maximum(border - data.margin, train.start), train.strand)
    return Split(rest[rest.lengths > 0], val, split.test, f"{split.rule}; validation: ends of the training sequences")
