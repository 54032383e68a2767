# SPDX-License-Identifier: MIT

# For the project's commands (bash): `require_packages NAME...` sees to it that these packages of Debian or Ubuntu are installed.
# When they are it costs one look and needs no root. Where there is no apt it names them and ends the command.
# With KGROUP_NO_APT=1 it believes that what is needed is there.

require_packages() {
    if [[ -n ${KGROUP_NO_APT:-} ]]; then
        return
    fi
    if ! command -v apt-get > /dev/null; then
        echo "This needs the following packages, by their names in Debian, and there is no apt here to install them:" >&2
        echo "  $*" >&2
        echo "Install what your system calls them, then say so with KGROUP_NO_APT=1." >&2
        exit 1
    fi

    local package status missing=()
    for package in "$@"; do
        status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2> /dev/null) || status=
        if [[ $status != installed ]]; then
            missing+=("$package")
        fi
    done
    if (( ${#missing[@]} == 0 )); then
        return
    fi

    local as_root=()
    if (( EUID != 0 )); then
        if ! command -v sudo > /dev/null; then
            echo "Packages are missing, and installing them needs root or sudo:" >&2
            echo "  apt-get install ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "Installing: ${missing[*]}"
    "${as_root[@]}" apt-get update --quiet --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" > /dev/null
}
