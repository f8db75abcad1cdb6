#!/bin/sh
# Installs the programs that some tests need, on Debian or Ubuntu as root. Where CI is set those tests fail without them.
set -eu
PACKAGES="faketime nginx-light strace"
for program in faketime nginx strace; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing=1
done
[ -n "${missing:-}" ] || exit 0
apt-get update -qq
# shellcheck disable=SC2086 # one word each
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $PACKAGES >/dev/null
