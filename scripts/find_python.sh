#!/bin/sh
# Prints the Python that an environment is to be made with: $PYTHON where it is set, else the first of the usual names
# that is of a version asked for and can make virtual environments. One line on stderr and status 1 where there is none.
#
#     sh scripts/find_python.sh 13    # Python 3.10 to 3.13
set -eu

newest=$1 # its minor version

main() {
    candidates=python3
    for minor in 13 12 11 10; do
        if [ "$minor" -le "$newest" ]; then
            candidates="$candidates python3.$minor"
        fi
    done
    found=""
    for candidate in ${PYTHON:-$candidates}; do
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
    echo "error: no usable Python: ${found:-none found}. Install Python 3.10 to 3.$newest or name one:" \
        "make PYTHON=/path/to/python3.$newest" >&2
    return 1
}

fault_of() { # prints what is wrong with the Python named $1, nothing if it will do
    version=$("$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || version=""
    minor=${version#*.}
    minor=${minor%%.*}
    case $version in
        "") echo "is not there" ;;
        2.* | 3.[0-9].*) echo "is $version, too old" ;;
        3.*)
            if [ "$minor" -gt "$newest" ]; then
                echo "is $version, too new"
            else
                "$1" -c 'import ensurepip, venv' 2>/dev/null ||
                    echo "is $version without venv or ensurepip (Debian and Ubuntu: install python3-venv)"
            fi
            ;;
        *) echo "is $version, too new" ;;
    esac
}

main
