# shellcheck shell=bash
# processes.sh: start, watch and stop processes without an init system.
#
# A pid file holds "PID STARTTIME" (field 22 of /proc/PID/stat), so that a recycled pid is never
# taken for ours.

starttime() {
  local s
  s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086  # split into fields on purpose
  set -- ${s##*) }
  echo "${20}"
}

pid_of() { # prints the pid of a living service of ours, else fails
  local p t
  [ -s "$RUN/$1.pid" ] || return 1
  read -r p t <"$RUN/$1.pid"
  [ "$(starttime "$p")" = "$t" ] || return 1
  case "$(sed 's/.*) //' "/proc/$p/stat" 2>/dev/null)" in Z*) return 1 ;; esac   # a zombie is dead
  echo "$p"
}

alive() { pid_of "$1" >/dev/null; }

listening() { (exec 3<>"/dev/tcp/$ADDR/$1") 2>/dev/null; }

spawn() { # spawn NAME CMD...   own session = own process group, pid == pgid
  local name=$1 port p t
  shift
  alive "$name" && return 0
  port=$(port_of "$name")
  if [ -n "$port" ] && listening "$port"; then
    die "$name cannot start: port $port is already in use by something this script did not start"
  fi
  echo "=== $(date -u +%FT%TZ) start: $*" >>"$LOG/$name.log"
  setsid "$@" </dev/null >>"$LOG/$name.log" 2>&1 9>&- &
  p=$!
  t=$(starttime $p) || t=gone
  echo "$p $t" >"$RUN/$name.pid"
  date +%s >"$RUN/$name.started"
}

fail_svc() { # fail_svc NAME REASON
  {
    echo "devcloud: ERROR: service '$1' $2"
    echo "---- last lines of $LOG/$1.log"
    tail -n 25 "$LOG/$1.log" 2>/dev/null
    echo "----"
  } >&2
  exit 1
}

reap() { # what is left of the group that we started (workers of a dead parent)
  local p
  read -r p _ 2>/dev/null <"$RUN/$1.pid" || return 0
  kill -KILL -- "-$p" 2>/dev/null
  rm -f "$RUN/$1.pid" "$RUN/$1.started"
}

stop_many() { # stop_many SECONDS NAME...   SIGTERM to all, SIGKILL to those that stay
  local lim=$1 n p end live="" rest
  shift
  for n in "$@"; do
    if p=$(pid_of "$n"); then
      kill -TERM "$p" 2>/dev/null
      live="$live $n"
    else
      rm -f "$RUN/$n.pid"
    fi
  done
  end=$((SECONDS + lim))
  while [ -n "$live" ]; do
    rest=""
    for n in $live; do
      if alive "$n"; then rest="$rest $n"; else reap "$n"; fi
    done
    live=$rest
    [ -z "$live" ] && break
    if [ $SECONDS -ge $end ]; then
      for n in $live; do
        say "$n did not stop in ${lim}s: SIGKILL to its process group"
        reap "$n"
      done
      break
    fi
    sleep 0.2
  done
}

group_mb() { # memory of a session, in MB, shared pages counted once
  local kb=0 d
  for d in $(ps -o pid= --sid "$1" 2>/dev/null); do
    kb=$((kb + $(awk '/^Pss:/{s+=$2} END{print s+0}' "/proc/$d/smaps_rollup" 2>/dev/null || echo 0)))
  done
  echo $((kb / 1024))
}
