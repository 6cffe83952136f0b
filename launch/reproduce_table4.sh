#!/usr/bin/env bash
# Every run of the paper's Table 4 (and of 8, 10 and 11): BiLSTM and BERT from scratch, pretrained
# on two languages, classifiers of each with 32, 64 and 128 labels and with all.
#
#   EUROPARL=DIR MLDOC=DIR launch/reproduce_table4.sh [RUNS]
#   DEBIAN=DIR launch/reproduce_table4.sh [RUNS]
#   DEBIAN=DIR SIB200=DIR launch/reproduce_table4.sh [RUNS]
#
# The second makes the same table of Debian's descriptions, English and German, at a size for two
# CPU cores (`python -m jaxsdgm.data.debian --out DIR` gets them); the third, of SIB-200's sentences,
# with the encoders that were pretrained on Debian's. RUNS is runs/table4 unless given;
# RUNS/paper_tables.html has the tables at the end. The queue may be stopped and started again.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck source=launch/queue.sh
. launch/queue.sh

RUNS=${1:-runs/table4}
EUROPARL=${EUROPARL:-}
MLDOC=${MLDOC:-}
DEBIAN=${DEBIAN:-}
SIB200=${SIB200:-}
PAIRS=${PAIRS:-en-de en-fr de-fr}
LABELS=${LABELS:-32 64 128 0} # 0: all
# Rows, by what the configs call them; vectors need gensim (pip install -e '.[vectors]').
SYSTEMS=${SYSTEMS:-nxvae_h nxvae_z1 none bow gru aux-bow aux-gru snxvae_z1 rand ft muse pemb nxemb bertw bertw-st bertsw}

if [[ -n $DEBIAN ]]; then
    PAIRS=de-en WIDTH=96 KIND=${SIB200:+sib200-}
    pretrain() { echo "--config=configs/debian_$1.py:$2 --config.data.dir=$DEBIAN"; }
    documents="${SIB200:+--config.data.source=sib200 }--config.data.dir=${SIB200:-$DEBIAN}"
    cell() { echo "--config=configs/debian_classify.py:$2,$3,$4 $documents"; }
    bert() { cell "$1" "$2" "$3" "bert-$4"; }
elif [[ -n $EUROPARL && -n $MLDOC ]]; then
    WIDTH=300 KIND=
    pretrain() { echo "--config=configs/europarl_$1.py:$2 --config.data.dir=$EUROPARL"; }
    cell() { echo "--config=configs/mldoc_nxvae.py:$1,$2,$3,$4 --config.data.dir=$MLDOC"; }
    bert() { echo "--config=configs/mldoc_bert.py:$1,$2,$3,$4 --config.data.dir=$MLDOC"; }
else
    stop_with "give EUROPARL=DIR and MLDOC=DIR, or DEBIAN=DIR (and SIB200=DIR)"
fi

wanted() { [[ " $SYSTEMS " == *" $1 "* ]]; }

# vectors NAME PAIR: what $RUNS/PAIR/NAME.LANGUAGE.vec are made of
vectors() {
    local here=$RUNS/$2 language
    local first=${2%-*} second=${2#*-}
    case $1 in
    ft)
        for language in "$first" "$second"; do
            task "$here/ft.$language.vec" train_vectors --input="$here/nxvae/text/$language.train.txt" \
                --out="$here/ft.$language.vec" --size="$WIDTH"
        done
        ;;
    muse)
        vectors ft "$2"
        task "$here/muse.$first.vec" align "$here/ft.$first.vec" "$here/ft.$second.vec" \
            --out="$here/muse.$first.vec"
        [[ -n $DRY ]] || ln -sf "ft.$second.vec" "$here/muse.$second.vec" # the space that both are in
        ;;
    nxemb | pemb)
        local run=$here/nxvae
        # shellcheck disable=SC2046
        [[ $1 == nxemb ]] || { run=$here/pemb && task "$run" main $(pretrain pemb "$2"); }
        for language in "$first" "$second"; do
            task "$here/$1.$language.vec" export --workdir="$run" --language="$language" \
                --out="$here/$1.$language.vec"
        done
        ;;
    esac
}

# a cell of one system, language and number of labels
row() {
    local system=$1 pair=$2 language=$3 labels=$4
    local here=$RUNS/$pair folder=$RUNS/$pair/$KIND$3-$4-$1 arguments
    case $system in
    rand) arguments=$(cell "$pair" "$language" "$labels" rand) ;;
    ft | muse | pemb | nxemb)
        arguments="$(cell "$pair" "$language" "$labels" vectors) --config.vectors=$here/$system.$language.vec"
        ;;
    snxvae_z1)
        arguments="$(cell "$pair" "$language" "$labels" nxvae_z1) --config.pretrained=$here/snxvae"
        ;;
    bert*)
        local start=${system%-st} kind=sup languages
        [[ $system != *-st ]] || kind=st
        languages=$(basename "$(echo "$here/$start/$start"-*)")
        arguments="$(bert "$pair" "$language" "$labels" "$kind") --config.encoder.checkpoint=$here/$start/$languages"
        ;;
    *) arguments="$(cell "$pair" "$language" "$labels" "$system") --config.pretrained=$here/nxvae" ;;
    esac
    # shellcheck disable=SC2086 # several arguments; folders with blanks in their names do not work
    classify "$folder" $arguments
}

# what learns from unlabelled documents has no run with all labels
semi_supervised() { [[ $1 =~ ^(none|bow|gru|aux-.*|.*-st)$ ]]; }

for pair in $PAIRS; do
    # shellcheck disable=SC2046
    {
        task "$RUNS/$pair/nxvae" main $(pretrain nxvae "$pair")
        ! wanted snxvae_z1 || task "$RUNS/$pair/snxvae" main $(pretrain snxvae "$pair")
        ! [[ " $SYSTEMS" == *" bertw"* ]] || task "$RUNS/$pair/bertw" main $(pretrain bert "$pair,words")
        ! wanted bertsw || task "$RUNS/$pair/bertsw" main $(pretrain bert "$pair,subwords")
    }
    for name in ft muse pemb nxemb; do
        ! wanted $name || vectors $name "$pair"
    done
    for language in ${pair/-/ }; do
        for labels in $LABELS; do
            for system in $SYSTEMS; do
                [[ $labels == 0 ]] && semi_supervised "$system" && continue
                row "$system" "$pair" "$language" "$labels"
            done
        done
    done
done
finish "$RUNS"
