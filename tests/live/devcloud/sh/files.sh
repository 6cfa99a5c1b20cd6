# shellcheck shell=bash
# files.sh: the state folder: config files from the templates in etc/, python files from lib/.

write_if_changed() { # write_if_changed FILE   content on stdin
  local tmp
  tmp=$(mktemp "$STATE/.w.XXXXXX")
  cat >"$tmp"
  chmod 644 "$tmp"
  if cmp -s "$tmp" "$1"; then rm -f "$tmp"; else mv "$tmp" "$1"; fi
}

# render TEMPLATE: in a file of etc/, @NAME@ becomes the value of the shell variable NAME, and
# "@include PART USER@" the file PART with @SERVICE_USER@ = USER
render() {
  local text part name
  text=$(<"$HERE/etc/$1") || return 1
  while [[ $text =~ @include\ ([a-z.-]+)\ ([a-z]+)@ ]]; do
    part=$(<"$HERE/etc/${BASH_REMATCH[1]}") || return 1
    part=${part//@SERVICE_USER@/${BASH_REMATCH[2]}}
    text=${text//"${BASH_REMATCH[0]}"/"$part"}
  done
  while [[ $text =~ @([A-Z_]+)@ ]]; do
    name=${BASH_REMATCH[1]}
    [ -n "${!name+set}" ] || { echo "etc/$1: no setting $name" >&2; return 1; }
    text=${text//"@$name@"/"${!name}"}
  done
  printf '%s\n' "$text"
}

render_to() { # render_to FILE TEMPLATE
  local text
  text=$(render "$2") || die "cannot write $1 from etc/$2"
  printf '%s\n' "$text" | write_if_changed "$1"
}

write_configs() {
  # shellcheck disable=SC2034  # read by the templates
  local f COMPUTE COMPUTE_QUEUES="" FRESH=$((DOWN_TIME * 2 / 3))
  mkdir -p "$ETC" "$(dirname "$CLOUDS")"
  for f in rabbitmq.conf rabbitmq.plugins uwsgi.ini keystone.conf placement.conf glance-api.conf \
    neutron.conf ml2_conf.ini nova.conf nova-db.conf; do
    render_to "$ETC/$f" "$f"
  done
  for COMPUTE in $(seq 1 "$HOSTS"); do
    render_to "$ETC/nova-compute-$COMPUTE.conf" nova-compute.conf
    COMPUTE_QUEUES+="\"nova-compute-$COMPUTE\": \"compute.fake-$COMPUTE\", "
  done
  COMPUTE_QUEUES=${COMPUTE_QUEUES% }
  render_to "$ETC/health.json" health.json
  render_to "$CLOUDS" clouds.yaml
}

# The services run from copies: a running cloud does not change while these files are edited.
write_lib() {
  local f egg=$LIB/devcloud_ml2-1.0.egg-info
  mkdir -p "$LIB/nova_virt" "$egg"
  for f in "$HERE"/lib/*.py "$HERE"/lib/nova_virt/*.py; do
    write_if_changed "$LIB/${f#"$HERE/lib/"}" <"$f"
  done
  # makes devcloud_ml2 known to neutron as an installed plugin
  printf 'Metadata-Version: 1.2\nName: devcloud-ml2\nVersion: 1.0\n' | write_if_changed "$egg/PKG-INFO"
  printf '[neutron.ml2.mechanism_drivers]\ndevcloud = devcloud_ml2:DevcloudMechanismDriver\n' |
    write_if_changed "$egg/entry_points.txt"
}

write_files() {
  local d
  for d in log run nova neutron lock fernet glance/images glance/staging glance/tasks glance/cache; do
    mkdir -p "$STATE/$d"
  done
  chmod 700 "$STATE/fernet"
  write_configs
  write_lib
}
