"""Metrics of generated molecules against values worked out by hand, and filters."""

import math

import numpy as np
import pytest

from xlstm_apps.datasets.molecules import FilterConfig, MoleculeFilter, Reference, compare_sets, molecule, read_valid
from xlstm_apps.datasets.molecules.fingerprints import mean_similarity, morgan_fingerprints, nearest, similarities
from xlstm_apps.datasets.molecules.fragments import cosine, fragment_counts, scaffold, scaffold_counts
from xlstm_apps.datasets.molecules.metrics import (
    frechet_chemnet_distance,
    internal_diversity,
    nearest_neighbour_similarity,
    novelty,
    uniqueness,
    validity,
)
from xlstm_apps.datasets.molecules.properties import PROPERTIES, measure

Chem = pytest.importorskip("rdkit.Chem", reason="needs RDKit")

# Three fingerprints whose similarities are 2/3, 0 and 0; the last has no bit.
BITS = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.uint8)


def test_validity_counts_strings_and_an_empty_one_is_none():
    valid = read_valid(["CCO", "OCC", "", "C1CC", "CCO name", "cC"])
    assert valid.smiles == ["CCO", "CCO"] and validity(valid) == pytest.approx(2 / 6)
    assert math.isnan(validity(read_valid([])))


def test_uniqueness_is_of_the_first_and_novelty_of_the_distinct():
    smiles = ["CC", "CC", "CCO", "CCN"]
    assert uniqueness(smiles) == 3 / 4 and uniqueness(smiles, 2) == 1 / 2 and uniqueness(smiles, 100) == 3 / 4
    assert novelty(smiles, {"CC"}) == 2 / 3 and novelty(smiles, set()) == 1
    assert math.isnan(uniqueness([])) and math.isnan(novelty([], {"CC"}))


def test_tanimoto_similarities_in_closed_form():
    expected = [[1, 2 / 3, 0, 0], [2 / 3, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(similarities(BITS, BITS), expected, rtol=1e-6)


def test_internal_diversity_counts_each_with_itself():
    # means of the rows above over three: 5/9, 5/9, 1/3
    assert internal_diversity(BITS[:3]) == pytest.approx(1 - (5 / 9 + 5 / 9 + 1 / 3) / 3)
    # power 2: sqrt((1 + 4/9) / 3) twice and sqrt(1/3)
    row = math.sqrt((1 + 4 / 9) / 3)
    assert internal_diversity(BITS[:3], 2) == pytest.approx(1 - (2 * row + math.sqrt(1 / 3)) / 3)
    assert internal_diversity(BITS[:1]) == 0


def test_nearest_neighbours():
    best, which = nearest(BITS[:3], BITS[[2, 0]])
    np.testing.assert_allclose(best, [1, 2 / 3, 1])
    assert which.tolist() == [1, 1, 0]
    assert nearest_neighbour_similarity(BITS[:3], BITS[[2, 0]]) == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert math.isnan(nearest_neighbour_similarity(BITS[:0], BITS))


def test_blocks_do_not_change_similarities(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 2, (7, 16)).astype(np.uint8)
    before = nearest(rows, rows[::-1])[0], mean_similarity(rows, rows, 2)
    monkeypatch.setattr("xlstm_apps.datasets.molecules.fingerprints._BLOCK", 3)
    np.testing.assert_allclose(before[0], nearest(rows, rows[::-1])[0])
    np.testing.assert_allclose(before[1], mean_similarity(rows, rows, 2))


def test_fingerprints_agree_with_those_of_rdkit():
    from rdkit.Chem import AllChem
    from rdkit.DataStructs import TanimotoSimilarity

    mols = [molecule(s) for s in ("CC(=O)Oc1ccccc1C(=O)O", "Cn1c(=O)c2c(ncn2C)n(C)c1=O")]
    generator = AllChem.GetMorganGenerator(radius=2, fpSize=1024)
    expected = TanimotoSimilarity(*(generator.GetFingerprint(mol) for mol in mols))
    prints = morgan_fingerprints(mols)
    assert prints.shape == (2, 1024) and similarities(prints[:1], prints[1:])[0, 0] == pytest.approx(expected)


def test_fragments_and_scaffolds():
    two_rings, one_ring = molecule("Cc1ccc(-c2ccccc2)cc1"), molecule("CC(=O)Nc1ccccc1")
    assert scaffold(two_rings) == "c1ccc(-c2ccccc2)cc1" and scaffold(molecule("CCO")) is None
    assert scaffold_counts([two_rings, two_rings, one_ring]) == {"c1ccc(-c2ccccc2)cc1": 2}
    assert fragment_counts([one_ring]) == {"[1*]C(C)=O": 1, "[16*]c1ccccc1": 1, "[5*]N[5*]": 1}
    assert cosine({"a": 1, "b": 2}, {"b": 1, "c": 5}) == pytest.approx(2 / math.sqrt(5 * 26))
    assert math.isnan(cosine({}, {"a": 1})) and cosine({"a": 3}, {"a": 1}) == pytest.approx(1)


def test_properties_of_aspirin():
    found = measure([molecule("CC(=O)Oc1ccccc1C(=O)O")])
    assert list(found) == list(PROPERTIES)
    expected = {"mw": 180.159, "logp": 1.3101, "qed": 0.5501, "sa": 1.580, "tpsa": 63.6, "hbd": 1, "hba": 3}
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-3)
    assert found["heavy_atoms"][0] == 13 and found["rings"][0] == 1 and found["charge"][0] == 0
    with pytest.raises(ValueError, match=r"no property 'weight'; there are mw, logp"):
        measure([], ["weight"])


def test_a_set_compared_with_itself():
    smiles = ["Cc1ccc(-c2ccccc2)cc1", "CC(=O)Nc1ccccc1", "CCO"]
    valid = read_valid(smiles)
    found = {v.metric: v for v in compare_sets(valid, training=["CCO"], reference=Reference.of(valid))}
    assert found["valid"].value == found["unique"].value == 1
    assert found["snn"].value == found["frag"].value == found["scaf"].value == pytest.approx(1)
    assert found["novel"].value == pytest.approx(2 / 3) and found["scaf"].n == 1
    assert found["wasserstein_mw"].value == 0 and "unique@1000" not in found


def test_property_distance_in_closed_form():
    ethanol, propanol = read_valid(["CCO"]), read_valid(["CCCO"])
    found = {v.metric: v.value for v in compare_sets(propanol, reference=Reference.of(ethanol))}
    assert found["wasserstein_mw"] == pytest.approx(14.027, abs=1e-3)  # one CH2
    assert math.isnan(found["scaf"])


def test_nothing_valid_has_no_other_metric():
    found = compare_sets(read_valid(["C1"]), training=[], reference=Reference.of(read_valid(["CCO"])))
    assert found[0].value == 0 and all(math.isnan(v.value) for v in found[1:])


def test_fcd_asks_for_its_package(monkeypatch):
    import sys

    for name in ("fcd_torch", "fcd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="pip install fcd_torch"):
        frechet_chemnet_distance(["CC"], ["CC"])
    with pytest.raises(ValueError, match="give reference"):
        compare_sets(read_valid(["CC"]), fcd=True)


def test_filters_say_which_stage_and_why():
    judge = MoleculeFilter(
        FilterConfig(keep=["mw<=200", "logp > -1"], alerts=["pains", "brenk"], contains=["[#6]"], lacks=["[F,Cl,Br,I]"])
    )
    assert judge.stages == [
        "contains [#6]",
        "lacks [F,Cl,Br,I]",
        "mw<=200",
        "logp>-1",
        "no pains alert",
        "no brenk alert",
    ]
    assert judge.properties == ("mw", "logp")
    assert judge(molecule("CCO")) is None
    assert judge(molecule("O")) == ("contains [#6]", "not there")
    assert judge(molecule("CCl")) == ("lacks [F,Cl,Br,I]", "there")
    assert judge(molecule("C" * 20)) == ("mw<=200", "mw 282.6")
    assert judge(molecule("O=C1C=CC(=O)C=C1")) == ("no pains alert", "quinone_A(370)")
    assert judge(molecule("O=Cc1ccccc1")) == ("no brenk alert", "aldehyde")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["mw"]}, "keep 'mw' is no condition; write it as mw<=500"),
        ({"keep": ["weight<5"]}, "no property 'weight'; there are mw"),
        ({"contains": ["C1C"]}, "'C1C' is no SMARTS"),
        ({"lacks": [""]}, "'' is no SMARTS"),
        ({"alerts": ["bad"]}, "alerts 'bad' is not one of pains, brenk, nih, zinc"),
    ],
)
def test_filters_that_cannot_be_read(options, message):
    with pytest.raises(ValueError, match=message):
        MoleculeFilter(FilterConfig(**options))


def test_a_property_that_cannot_be_told_stops_nothing(monkeypatch):
    def fails(mol):
        raise ValueError("no")

    monkeypatch.setattr(
        "xlstm_apps.datasets.molecules.properties._calculators", lambda: dict.fromkeys(PROPERTIES, fails)
    )
    assert math.isnan(measure([molecule("CCO")], ["qed"])["qed"][0])
    assert MoleculeFilter(FilterConfig(keep=["qed>0"]))(molecule("CCO")) == ("qed>0", "qed nan")
