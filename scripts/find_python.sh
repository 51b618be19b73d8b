#!/bin/sh
# Prints the Python that .venv is to be made with: $PYTHON where it is set, else the first of the usual names that is
# Python 3.10 to 3.13 and can make virtual environments. One line on stderr and status 1 where there is none.
set -eu

main() {
    found=""
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        fault=$(fault_of "$candidate")
        if [ -z "$fault" ]; then
            echo "$candidate"
            return
        fi
        # A name that is not installed is worth a word only where it was asked for.
        if [ "$fault" != "is not there" ] || [ -n "${PYTHON:-}" ]; then
            found="$found${found:+; }$candidate $fault"
        fi
    done
    echo "error: no usable Python: ${found:-none found}. Install Python 3.10 to 3.13 or name one:" \
        "make PYTHON=/path/to/python3.12" >&2
    return 1
}

fault_of() { # prints what is wrong with the Python named $1, nothing if it will do
    version=$("$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || version=""
    case $version in
        "") echo "is not there" ;;
        3.1[0-3].*)
            "$1" -c 'import ensurepip, venv' 2>/dev/null ||
                echo "is $version without venv or ensurepip (Debian and Ubuntu: install python3-venv)"
            ;;
        2.* | 3.[0-9].*) echo "is $version, too old" ;;
        *) echo "is $version, too new" ;;
    esac
}

main
