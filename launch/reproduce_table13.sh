#!/usr/bin/env bash
# Every run of the paper's Table 13 and Figure 1: a multilingual transformer, fine-tuned by SUP-h
# and by M1+M2+BOW, with 8, 16, 32 and (SUP-h) all labels in five languages, five seeds each.
#
#   MLDOC=DIR launch/reproduce_table13.sh [RUNS]
#   DEBIAN=DIR launch/reproduce_table13.sh [RUNS]
#   SIB200=DIR launch/reproduce_table13.sh [RUNS]
#
# FROZEN=1 keeps the encoder as it is (on a CPU: seconds to minutes a cell) and puts logistic
# regression on its features beside it. CHECKPOINT is the encoder, a folder or a hub name. RUNS is
# runs/table13 unless given; RUNS/paper_tables.html and RUNS/summary.html (Figure 1) are the result.
# The queue may be stopped and started again.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck source=launch/queue.sh
. launch/queue.sh

RUNS=${1:-runs/table13}
MLDOC=${MLDOC:-}
DEBIAN=${DEBIAN:-}
SIB200=${SIB200:-}
FROZEN=${FROZEN:-}
CHECKPOINT=${CHECKPOINT:-${FROZEN:+intfloat/multilingual-e5-small}}
CHECKPOINT=${CHECKPOINT:-bert-base-multilingual-cased}
LANGUAGES=${LANGUAGES:-en de fr ru zh}
LABELS=${LABELS:-8 16 32}

for corpus in mldoc debian sib200; do
    name=${corpus^^}
    [[ -z ${!name} ]] || break
done
[[ -n ${!name} ]] || stop_with "give MLDOC=DIR, DEBIAN=DIR or SIB200=DIR"

cell() {
    local language=$1 labels=$2 system=$3 config=mldoc_mbert.py size=$2
    if [[ -n $FROZEN ]]; then
        config=debian_e5.py
    elif [[ $labels == 0 ]]; then
        size=1000
    fi
    classify "$RUNS/$language-$labels-${system%,bow}" \
        --config="configs/$config:$language,$size,$system" --config.data.source="$corpus" \
        --config.data.dir="${!name}" --config.encoder.checkpoint="$CHECKPOINT"
}

for language in $LANGUAGES; do
    supervised=sup generative=m1m2,bow
    [[ -z $FROZEN ]] || supervised=features_lr generative=bow
    cell "$language" 0 "$supervised"
    for labels in $LABELS; do
        cell "$language" "$labels" "$supervised"
        cell "$language" "$labels" "$generative"
    done
done
finish "$RUNS"
