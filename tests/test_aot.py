"""Counts of programs compiled for a card that is not there: thunks and HLO of known content, and the compiler itself
where its wheels are (`pip install -e '.[aot]'`)."""

import importlib.util
import json
import sys

import jax
import pytest
from launching import ROOT

from benchmarks import programs
from benchmarks.aot import hlo, thunks
from benchmarks.aot.__main__ import (
    HEAD,
    TWO,
    chosen,
    in_a_process,
    line,
    names,
    of_a_unit,
    on,
    table,
)
from benchmarks.policies import under

SEQUENCE = """
001: kCustomKernel [source | next=002] loop_add_fusion grid: [1, 1, 1]
002: kWhile        [prev=001 | sink]
condition:
    003: kCustomKernel [source | sink] loop_compare_fusion
  body:
    004: kConvolution   [source | next=005] kConvolution
    005: kAsyncStart   [source | next=009] stream=computation_stream[0]
        006: kDynamicSliceFusion [source | sink]
            007: kCopy [source | sink]
    009: kAsyncDone [prev=005 | sink]
    010: kWhile [prev=009 | sink]
    condition:
        011: kCustomKernel [source | sink] loop_compare_fusion
      body:
        012: kCustomKernel [source | next=013] gemm_fusion
        013: kGemm [prev=012 | sink]
014: kCopy [prev=002 | sink]
"""
GRAPHS = """
000: kCommandBuffer [source | next=002]
    001: kCustomKernel [source | sink] loop_add_fusion
    003: kCustomKernel [source | sink] loop_add_fusion.1
002: kWhile [prev=000 | sink]
condition:
    003: kCustomKernel [source | sink] loop_compare_fusion
  body:
    000: kCommandBuffer [source | next=005]
        004: kCustomKernel [source | sink] loop_add_fusion.2
    005: kConvolution [prev=000 | sink] kConvolution
"""
HLO = """HloModule jit_step, is_scheduled=true

%fused (param_0.1: f32[10,100], param_1.1: s32[]) -> f32[1,100] {
  %param_0.1 = f32[10,100]{1,0} parameter(0)
  %param_1.1 = s32[] parameter(1)
  ROOT %slice.1 = f32[1,100]{1,0} dynamic-slice(%param_0.1, %param_1.1), dynamic_slice_sizes={1,100}
}

%body (arg.1: (f32[10,100], s32[])) -> (f32[10,100], s32[]) {
  %arg.1 = (f32[10,100]{1,0}, s32[]) parameter(0)
  %all = f32[10,100]{1,0} get-tuple-element(%arg.1), index=0
  %i = s32[] get-tuple-element(%arg.1), index=1
  %loop_slice_fusion = f32[1,100]{1,0} fusion(%all, %i), kind=kLoop, calls=%fused
  ROOT %out = (f32[10,100]{1,0}, s32[]) tuple(%all, %i)
}

%cond (arg.2: (f32[10,100], s32[])) -> pred[] {
  ROOT %c = pred[] constant(true)
}

ENTRY %main (x: f32[10,100]) -> f32[10,100] {
  %x = f32[10,100]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %start = (f32[10,100]{1,0}, s32[]) tuple(%x, %zero)
  %loop = (f32[10,100]{1,0}, s32[]) while(%start), condition=%cond, body=%body%TRIPS%
  %y = f32[10,100]{1,0} get-tuple-element(%loop), index=0
  ROOT %twice = f32[10,100]{1,0} add(%y, %y)
}
"""
KNOWN = ', backend_config={"known_trip_count":{"n":"7"}}'


def test_kernels_are_counted_as_often_as_their_loops_run():
    """Outer loop 3 times, inner 5 times in each: conditions run once more; containers are no work."""
    found = thunks.count(thunks.parse(SEQUENCE), iter([3, 5]))
    inner = 6 * 1 + 5 * 2
    assert found.kernels == 1 + 4 * 1 + 3 * (1 + 1 + inner) + 1
    assert found.library == 3 * (1 + 5) and found.copies == 3 + 1
    assert found.launches == found.kernels and found.graphs == 0


def test_a_graph_is_one_launch():
    found = thunks.count(thunks.parse(GRAPHS), iter([4]))
    assert found.kernels == 2 + 5 + 4 * 2
    assert found.graphs == 1 + 4 and found.launches == 1 + 5 + 4 * 2


def test_trips_and_bytes():
    """A loop's trips are read where they are known; a slice of an operand counts as the slice."""
    known, open_ = (hlo.read_hlo(HLO.replace("%TRIPS%", how)) for how in (KNOWN, ""))
    assert known.entry == "main" and hlo.loop_trips(known) == [7]
    assert hlo.loop_trips(open_, [2]) == [2]
    slices, end = 400 + 4 + 400, 3 * 4000
    assert hlo.bytes_moved(known) == 7 * slices + end
    assert hlo.bytes_moved(open_, [2]) == 2 * slices + end


UPDATED = """HloModule jit_step, is_scheduled=true

%fused (param_0.1: f32[10,100], param_1.1: s32[], param_2.1: f32[100]) -> f32[10,100] {
  %param_0.1 = f32[10,100]{1,0} parameter(0)
  %param_1.1 = s32[] parameter(1)
  %param_2.1 = f32[100]{0} parameter(2)
  %seen = f32[10,100]{1,0} bitcast(%param_0.1)
  %row = f32[1,100]{1,0} bitcast(%param_2.1)
  ROOT %updated = f32[10,100]{1,0} dynamic-update-slice(%seen, %row, %param_1.1)
}

ENTRY %main (x: f32[10,100], i: s32[], row: f32[100]) -> f32[10,100] {
  %x = f32[10,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %row.1 = f32[100]{0} parameter(2)
  ROOT %out = f32[10,100]{1,0} fusion(%x, %i, %row.1), kind=kLoop, calls=%fused
}
"""


@pytest.mark.parametrize("kept,row,moved", [("%seen", "%row", 0), ("%row", "%seen", 4000)])
def test_an_update_in_place_counts_as_its_part(kept, row, moved):
    """Also where the array has another name in the fusion; an array that is written into another counts whole."""
    text = UPDATED.replace("slice(%seen, %row", f"slice({kept}, {row}")
    part = 4000 if moved else 400
    read = 400 if kept == "%seen" else 0
    assert hlo.bytes_moved(hlo.read_hlo(text)) == moved + read + 4 + part


def test_an_asynchronous_fusion_counts_once():
    """By its start, which names operands and a counter beside its result."""
    start = "(({0}, s32[], f32[100]{{0}}), {0}, u32[]) fusion-start(%x".format("f32[10,100]{1,0}")
    text = UPDATED.replace("ROOT %out = f32[10,100]{1,0} fusion(%x", f"%out-start = {start}")
    done = "  ROOT %out = f32[10,100]{1,0} fusion-done(%out-start)\n}"
    text = text.rstrip().removesuffix("}") + done
    counter = 4
    assert hlo.bytes_moved(hlo.read_hlo(text)) == 400 + 4 + 400 + counter


EXCHANGE = """  %sum = f32[10,100]{1,0} all-reduce(%all), to_apply=%add
  %some = (f32[5], f32[10]) all-gather-start(%all), dimensions={0}
  %wait = f32[10] all-gather-done(%some)
  ROOT %out"""


def test_collectives_run_as_often_as_their_loop():
    """An asynchronous one counts once, by its start; a program that exchanges nothing has none."""
    text = HLO.replace("%TRIPS%", KNOWN)
    assert hlo.collectives(hlo.read_hlo(text)) == {}
    shared = hlo.read_hlo(text.replace("  ROOT %out", EXCHANGE))
    assert hlo.collectives(shared) == {"all-reduce": 7, "all-gather": 7}


LOOP = """
001: kCopy [source | next=002]
002: kWhile [prev=001 | sink]
condition:
    003: kCustomKernel [source | sink] loop_compare_fusion
  body:
    004: kCustomKernel [source | sink] gemm_fusion
"""


def test_a_unit_is_one_more_turn():
    """The copy before the loop belongs to the call, not to each of its units; a call of one unit has all of it."""
    module = hlo.read_hlo(HLO.replace("%TRIPS%", ""))
    loop = thunks.parse(LOOP)
    unit = of_a_unit(module, loop, loop, [1], [2])
    assert (unit["kernels"], unit["copies"], unit["bytes_moved"]) == (2, 0, 804)
    whole = of_a_unit(module, loop, loop, [1], [1])
    assert (whole["kernels"], whole["copies"], whole["bytes_moved"]) == (4, 1, 804 + 12000)
    assert unit["collectives"] == whole["collectives"] == {}


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_a_program_can_be_traced_here(name):
    """By shapes alone, so that a change of a signature shows without the wheels; some by their arguments alone."""
    make, policies = programs.PROGRAMS[name]
    with on(jax.devices()[:1]), under(policies[0]):
        case = make(policies[0])
        arguments = jax.eval_shape(case.arguments)
        if name in ("10 experts", "evaluation of 5, ipc 1", "scoring of 5"):
            jax.eval_shape(case.function, *arguments)
    assert case.flops > 1e8 and case.unit


def test_names_of_programs():
    """Each is found again by its name, with the policy and the number of cards."""
    assert len(set(names())) == len(names())
    policy, cards = chosen("10 experts: bf16, one by one")[1:]
    assert (policy.words, cards) == ("bf16, one by one", 1)
    assert chosen("10 experts on 2 cards")[2] == 2


def test_the_results_are_of_the_programs_that_there_are():
    """Compiled before and now: the tables are made from the files, and networks on two cards exchange nothing."""
    for name in ("before", "after"):
        path = ROOT / "results" / "aot" / f"{name}.json"
        made = json.loads(path.read_text())["programs"]
        assert path.with_suffix(".md").read_text() == table(made)
        assert not any("error" in found for found in made.values())
    between = {name: made[name]["collectives"] for name in made if name.endswith(TWO)}
    assert between["10 experts" + TWO] == between["evaluation of 6, ipc 50" + TWO] == {}
    assert between["mtt ipc 50" + TWO]["all-reduce"] > 0, "what is needed is seen"


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 12), reason="the wheels ask for Python 3.12")
@pytest.mark.skipif(not importlib.util.find_spec("jax_cuda13_plugin"), reason="no CUDA wheels")
def test_a_program_for_the_card():
    """Scoring has no loop: a few kernels, convolutions of the library, some temporaries."""
    name = "scoring of 5: chunks of 64"
    found = in_a_process(name)
    assert 5 < found["kernels"] < 200 and found["library"] >= 3, found
    assert found["temporary_bytes"] > 1e7 and found["bytes_moved"] > 1e8
    row = line(name, found)
    assert row.startswith("| scoring of 5, 64 images | chunks of 64 |")
    assert row.count("|") == len(HEAD) + 1
