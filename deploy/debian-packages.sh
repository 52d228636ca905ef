#!/usr/bin/env bash
# Debian packages that tests need (a browser for the console, HAProxy, PostgreSQL, Spring's classes): installs what is absent.
#
# For `make test`, which goes on whatever happens here: tests that miss something are skipped and say what. Quick and
# silent when everything is there.
set -uo pipefail

# Spring 4.3 and Jackson 2: what Debian has of what Maven's central repository has.
java=(libspring-web-java libspring-context-java libspring-web-servlet-java libspring-test-java libservlet-api-java
  libjackson2-databind-java)

absent=()
for package in "${java[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || absent+=("$package")
done
command -v javac >/dev/null || absent+=(default-jdk-headless)
# Chromium's headless shell loads a page of the console with half the processor time.
if ! command -v chromium-headless-shell >/dev/null; then
  if apt-cache show chromium-headless-shell >/dev/null 2>&1; then
    absent+=(chromium-headless-shell)
  elif ! command -v chromium chromium-browser >/dev/null; then
    absent+=(chromium)
  fi
fi
[ -x /usr/sbin/haproxy ] || absent+=(haproxy)
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || absent+=(postgresql)
# A small font with Chinese, so that screenshots can be read.
fc-list :lang=zh 2>/dev/null | grep -q . || absent+=(fontconfig fonts-wqy-zenhei)

[ ${#absent[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "some tests will be skipped; as root: apt-get install ${absent[*]}"
  exit 0
fi
echo "installing ${absent[*]}"
export DEBIAN_FRONTEND=noninteractive
apt() {
  timeout 300 apt-get -qq -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" >/dev/null 2>&1
}
install() {
  apt install -y --no-install-recommends "$@"
}
# The lists of a fresh machine are absent, those of an old one name versions that are gone.
install "${absent[@]}" && exit 0
apt update && install "${absent[@]}" && exit 0
for package in "${absent[@]}"; do # a package that one distribution lacks must not keep the others away
  install "$package" || echo "some tests will be skipped; this failed: apt-get install $package"
done
exit 0
