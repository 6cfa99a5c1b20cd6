# shellcheck shell=bash
# health.sh: is a service not only alive but answering?

amqp_answers() { # the broker greets with the first byte of an AMQP frame
  local byte
  byte=$( (exec 3<>"/dev/tcp/$ADDR/$MQ_PORT" && printf 'AMQP\0\0\011\001' >&3 && head -c 1 <&3 | od -An -tx1) 2>/dev/null)
  [ "${byte// /}" = 01 ]
}

infra_answers() {
  case $1 in
    mariadb) mariadb-admin --no-defaults -uroot -S "$SOCK" ping >/dev/null 2>&1 ;;
    rabbitmq) amqp_answers ;;
    *) listening "$(port_of "$1")" ;;
  esac
}

wait_infra() { # wait_infra NAME SECONDS
  local end=$((SECONDS + $2))
  until infra_answers "$1"; do
    alive "$1" || fail_svc "$1" "died while starting"
    [ $SECONDS -ge $end ] && fail_svc "$1" "does not answer on $ADDR:$(port_of "$1") after $2 s"
    sleep 0.3
  done
}

# health [NAME...]: prints "NAME<tab>REASON" for each sick OpenStack service, rc 0 when there is none
health() {
  [ -e "$ETC/health.json" ] || return 1
  (clean_env; exec "$PY" "$LIB/health.py" "$ETC/health.json" "$@" 2>>"$LOG/health.log")
}

wait_healthy() { # wait_healthy [NAME...]   all OpenStack services when none is named
  local end=$((SECONDS + TIMEOUT)) out n why names="${*:-$OPENSTACK}"
  while :; do
    for n in $names; do
      alive "$n" || fail_svc "$n" "is not running"
    done
    out=$(health "$@") && return 0
    if [ $SECONDS -ge $end ]; then
      echo "$out" >&2
      IFS=$'\t' read -r n why <<<"$out"
      fail_svc "${n:-keystone}" "is not healthy after $TIMEOUT s: ${why:-see $LOG/health.log}"
    fi
    sleep 1
  done
}

cmd_status() {
  local n p m rc=0 sick
  sick=$(health)
  for n in $ALL; do
    if ! p=$(pid_of "$n"); then
      printf '%-16s down\n' "$n"
      rc=1
      continue
    fi
    m=$(sed -n "s/^$n\t//p" <<<"$sick")
    printf '%-16s %-8s pid %-7s %6d MB  %s\n' "$n" "$([ -z "$m" ] && echo up || echo SICK)" "$p" "$(group_mb "$p")" "$m"
    [ -n "$m" ] && rc=1
  done
  return $rc
}
