# the long run of anime-tags-64 with labels: from tags6 to 2,000,000 images seen with labels (627,200 + 21,460 steps of 64)
cd RUNS; export PYTHONPATH=CODE OMP_NUM_THREADS=${1:-2} PYTHONDONTWRITEBYTECODE=1
P="nice -n 19 CHECKOUT/.venv/bin/python -m train fit --threads ${1:-2} --data data/faces64-filled --reference CHECKOUT/models/references/anime-faces.npz --fid-every 3000 --sample-every 3000"
if [ -f tags7/checkpoint.safetensors ]; then exec $P --resume --out tags7; fi
exec $P --preset anime-tags-64 --from tags6 --out tags7 --precision bf16 --set 'augment=[]' --set class_generator=0.25 --set batch_size=32 --set lr_decay=0.25 --set ema=0.9997 --set seed=2 --set steps=21460
