"""The voices of synthetic speech and who of them is heard in which split."""

from __future__ import annotations

from jerboa.audio.splits import HELD_OUT, SPLITS, digest

DIALECTS = {
    "en-US": 4,
    "en": 3,
    "en-GB-x-rp": 2,
    "en-029": 1,
    "en-GB-scotland": 1,
    "en-GB-x-gbclan": 1,
    "en-GB-x-gbcwmd": 1,
    "en-US-nyc": 1,
}
"""English dialects of eSpeak NG and how often each is drawn."""

_LISTED = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen Reed RicishayMax adam
anika announcer antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f3 f4 f5 grandma grandpa gustave ian iven
iven2 iven3 john kaukovalta klatt klatt2 klatt3 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 norbert pablo
paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac
"""
VARIANTS = tuple(_LISTED.split())
"""eSpeak NG's voice variants without whispers, robots, monsters and croaks, which people cannot follow either."""

_COMMON = """
house water yellow morning window seven purple coffee marvin bicycle garden please summer doctor orange listen button rabbit
number follow kitchen paper dinner finger
"""
UNKNOWN_WORDS = tuple(_COMMON.split())
"""Words that stand for all others where the recipe names none."""


def family(variant: str) -> str:
    """The voice that a variant is a version of: iven and iven2 are one, f1 and f2 are two."""
    numbered = variant[0] in "fm" and variant[1:].isdigit()
    return variant if numbered else variant.rstrip("0123456789").lower()


def variants_by_split(seed: int) -> dict[str, list[str]]:
    """A voice variant, all versions of it, is heard in one split only, in whatever dialect: a tenth validates, a tenth tests."""
    ordered = sorted({family(variant) for variant in VARIANTS}, key=lambda name: digest(f"{seed}\0{name}"))
    held_out = round(HELD_OUT * len(ordered))
    families = dict(zip(SPLITS, (ordered[2 * held_out :], ordered[:held_out], ordered[held_out : 2 * held_out])))
    return {split: [variant for variant in VARIANTS if family(variant) in names] for split, names in families.items()}
