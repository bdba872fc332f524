set -u
W=/tmp/w; mkdir -p $W; export XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=1
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl && export PYTHONPATH=/tmp/site
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv | tee $OUT/card.txt
G="-p no:benchmark -p no:cacheprovider"
(MEDJAX_TESTS_ON_GPU=1 timeout 190 python3 -m pytest -q -n 4 --maxfail=40 $G tests/test_conv.py tests/test_convnet.py tests/test_mtt.py tests/test_resnet.py tests/test_dc.py tests/test_evaluate.py > $OUT/truth.log 2>&1
MEDJAX_TESTS_ON_GPU=1 XLA_FLAGS=--xla_gpu_verify_triton_fusion_numerics=true timeout 110 python3 -m pytest -q -n 4 $G tests/test_mtt.py tests/test_convnet.py -k golden > $OUT/verify.log 2>&1) &
T=$!
timeout 345 python3 -m benchmarks.second $W 290 > $W/own.log 2>&1 &
B=$!
(while sleep 4; do cp $W/rows.jsonl $W/profile.json $OUT/; done) 2>/dev/null &
D="--dataset=.data/pbc_blood8.npz --preset=paper --experts=10 --out=/tmp/runs"
a() { timeout 170 python3 -m experiments.mtt $D --ipc=1 --seeds=3 --iterations=1000 --eval_every=500 >> $W/runA.log 2>&1; }
a; S=$?; echo "A status $S $(date +%T)" | tee -a $W/runA.log; [ $S = 0 ] || { export MEDJAX_CUDA_GRAPHS=0; a; echo "A again without graphs $?"; }
timeout 110 python3 -m experiments.mtt $D --ipc=10 --iterations=600 --eval_every=300 > $W/runB.log 2>&1; echo "B status $? $(date +%T)" | tee -a $W/runB.log
touch $W/ready-e; wait $B
cp $W/rows.jsonl $W/profile.json $OUT/; for f in own runA runB; do echo "== $f"; tail -c 6000 $W/$f.log; done > $OUT/logs.txt
(cd /tmp/runs && tar czf $OUT/runs.tgz --exclude='expert-*' --exclude='0*' --exclude='*checkpoint*' $(find . -name log.jsonl -o -name result.json -o -name config.json -o -name synthetic.npz))
kill $T 2>/dev/null; echo == truth; tail -n 30 $OUT/truth.log | cut -c1-220; echo == verify; tail -n 5 $OUT/verify.log | cut -c1-220; tail -c 1500 $W/runA.log; tail -c 1500 $W/runB.log
python3 - <<'PY'
import json
for l in open('/tmp/w/rows.jsonl'):
    r=json.loads(l); f=lambda t: '/'.join(f'{x:.3f}' for x in t or [])
    print(r['name'], '| alone', f(r.get('alone_ms')), '| together', f(r.get('together_ms')), '| MB', round(r.get('temporary_mb') or 0), '| compile', round(r.get('compile_s',0)), (r.get('error') or '')[:120], [float(f'{x:.6g}') for x in r.get('norms',[])])
PY
