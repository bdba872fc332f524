# The first call.
set -u
W=/tmp/w; mkdir -p $W; export XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=1
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv | tee $OUT/card.txt
python3 -c "import jax,torch,flax,sys; print(sys.version, jax.__version__, torch.__version__, flax.__version__, jax.devices())" | tee -a $OUT/card.txt
(MEDJAX_TESTS_ON_GPU=1 timeout 200 python3 -m pytest -q -n 5 -x --maxfail=12 -p no:cacheprovider tests/test_conv.py tests/test_convnet.py tests/test_mtt.py tests/test_resnet.py tests/test_dc.py tests/test_evaluate.py > $OUT/truth.log 2>&1; touch $W/ready-t) &
(timeout 200 python3 -m experiments.mtt --dataset=phantom --preset=quick --out=/tmp/runs > $OUT/phantom.log 2>&1; echo "status $?" >> $OUT/phantom.log; touch $W/ready-p) &
timeout 400 python3 -m benchmarks.card --out=$W --only="mtt" --name=a --wait=5 > $W/a.log 2>&1 &
A=$!
(while sleep 5; do cp $W/rows.jsonl $OUT/; done) 2>/dev/null &
timeout 400 python3 -m benchmarks.card --out=$W --only="experts;evaluation;scoring;dc" --name=b --wait=5 > $W/b.log 2>&1 &
B=$!
timeout 400 python3 -m benchmarks.card --out=$W --graphs --name=c --wait=5 > $W/c.log 2>&1 &
C=$!
wait $A; wait $B
timeout 110 python3 -m benchmarks.torch_card --out=$W > $W/torch.log 2>&1
wait $C
cp $W/rows.jsonl $OUT/; for f in a b c torch; do echo "== $f"; tail -c 3500 $W/$f.log; done > $OUT/logs.txt
echo == truth; tail -n 25 $OUT/truth.log; echo == phantom; tail -n 6 $OUT/phantom.log; 
python3 - <<'PY'
import json
for l in open('/tmp/w/rows.jsonl'):
    r=json.loads(l); f=lambda t: '/'.join(f'{x:.3f}' for x in t or [])
    print(r['name'], r.get('torch',''), '| alone', f(r.get('alone_ms')), '| together', f(r.get('together_ms')), '| MB', round(r.get('temporary_mb') or r.get('peak_mb') or 0), '| compile', round(r.get('compile_s',0)), (r.get('error') or '')[:120], [float(f'{x:.6g}') for x in r.get('norms',[])])
PY
