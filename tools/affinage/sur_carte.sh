#!/usr/bin/env bash
# Tout ce que les chapitres 11 à 13 demandent à une carte, en un passage de dix minutes au plus.
#   bash tools/affinage/sur_carte.sh DOSSIER
set -uo pipefail
out=$1
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 PYTHONPATH=. TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader
time timeout 90 python3 -m pytest -q --noconftest -c /dev/null -p no:cacheprovider \
    tests/test_affinage_carte.py 2>&1 | tail -25
time timeout 60 python3 -m tools.affinage assistant --hasard "7 G" --bits 4 --recalcul --lot 1 \
    --accumulation 4 --pas 6 --rang 16 --taux 2e-4 --plafond 24 --sortie /tmp/assistant-24 2>&1 |
    tee "$out/assistant-24.log" | tail -5
time timeout 150 python3 -m tools.affinage memoire --sortie "$out/memoire_affinage.json" \
    >"$out/memoire.log" 2>&1
tail -c 600 "$out/memoire.log"
python3 -m tools.affinage voies --sortie "$out/voies.json" >"$out/voies.log" 2>&1 &
time timeout "${BALAYAGES_S:-300}" python3 -m tools.affinage balayages --processus 10 \
    --secondes "${BALAYAGES_S:-300}" --sortie "$out/affinage.json" >"$out/affinage.log" 2>&1
tail -n 12 "$out/affinage.log"
wait
tail -n 3 "$out/voies.log"
