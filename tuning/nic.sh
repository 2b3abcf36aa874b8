#!/usr/bin/env bash
# Spreads a network card's packets over the CPUs of percoredns, so that the core that takes an interrupt answers the query.
#
#   nic.sh [--dry-run] INTERFACE [CPULIST]     CPULIST as for -cores: 0,2-5; all online CPUs if not given
#
# --dry-run prints the commands and changes nothing. README.md says what each of them gives. Nothing here survives a reboot.
set -euo pipefail

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit "${1:-2}"; }

dry=
case ${1:-} in
  -h | --help) usage 0 ;;
  --dry-run) dry=1; shift ;;
esac
[ $# -ge 1 ] && [ $# -le 2 ] || usage
interface=$1
list=${2:-$(cat /sys/devices/system/cpu/online)}
[ -d "/sys/class/net/$interface" ] || { echo "nic.sh: no interface '$interface' (see: ip link)" >&2; exit 1; }
[ -n "$dry" ] || [ "$(id -u)" = 0 ] || { echo "nic.sh: only root can change the card; try --dry-run" >&2; exit 1; }

# Runs a command, or only shows it. A refusal is reported and the rest goes on: not every driver has every knob.
run() {
  echo "+ $*"
  [ -n "$dry" ] || "$@" >/dev/null 2>&1 || echo "  refused by this driver; left as it is"
}
put() {
  echo "+ echo $1 > $2"
  [ -n "$dry" ] || echo "$1" 2>/dev/null >"$2" || echo "  refused; left as it is"
}

cpus=()
IFS=, read -ra parts <<<"$list"
for part in "${parts[@]}"; do
  [[ $part =~ ^[0-9]+(-[0-9]+)?$ ]] || { echo "nic.sh: '$part' is no CPU or range of CPUs" >&2; exit 1; }
  for ((cpu = ${part%-*}; cpu <= ${part#*-}; cpu++)); do cpus+=("$cpu"); done
done
[ ${#cpus[@]} -gt 0 ] || { echo "nic.sh: '$list' holds no CPU" >&2; exit 1; }
count=${#cpus[@]}

if command -v ethtool >/dev/null; then
  echo "# one queue for each core, hashed by addresses and ports, so that flows spread"
  run ethtool -L "$interface" combined "$count"
  run ethtool -X "$interface" equal "$count"
  for flow in udp4 udp6; do run ethtool -N "$interface" rx-flow-hash "$flow" sdfn; done
  echo "# larger rings for bursts; interrupts when the card sees fit"
  run ethtool -G "$interface" rx 4096 tx 4096
  run ethtool -C "$interface" adaptive-rx on
else
  echo "# ethtool is not installed (apt-get install ethtool): queues and rings are left as they are"
fi

echo "# the interrupt of queue n goes to the n-th CPU"
if systemctl is-active --quiet irqbalance 2>/dev/null; then
  echo "# irqbalance would undo this"
  run systemctl stop irqbalance
fi
nth=0
for irq in $(ls "/sys/class/net/$interface/device/msi_irqs" 2>/dev/null | sort -n); do
  # The actions of one card carry its name; the first vector often is for events, not for a queue.
  grep -qE "^ *$irq:.*($interface|TxRx|-rx-|-input|@pci)" /proc/interrupts 2>/dev/null || continue
  put "${cpus[nth % count]}" "/proc/irq/$irq/smp_affinity_list"
  nth=$((nth + 1))
done
[ "$nth" -gt 0 ] || echo "# no interrupts of this interface were found: a virtual one, or a card without MSI"

queues=("/sys/class/net/$interface/queues/rx-"*)
if [ "${#queues[@]}" -lt "$count" ] && [ -d "${queues[0]}" ]; then
  echo "# fewer queues than cores: packets are spread in software (RPS)"
  # A mask of 32-bit words, the highest first.
  words=() highest=0
  for cpu in "${cpus[@]}"; do
    words[cpu / 32]=$((${words[cpu / 32]:-0} | 1 << cpu % 32))
    ((cpu <= highest)) || highest=$cpu
  done
  mask=
  for ((word = highest / 32; word >= 0; word--)); do mask+=$(printf '%08x,' "${words[word]:-0}"); done
  for queue in "${queues[@]}"; do put "${mask%,}" "$queue/rps_cpus"; done
fi
