#!/bin/sh
# Installs the pinned packages of one lock file and the command alexnet-tf into a virtual environment, and makes that
# first where it is missing or broken:
#
#     sh scripts/install_packages.sh run .venv 13           # with a Python of at most 3.13
#     sh scripts/install_packages.sh addons .venv-addons 11
#
# Run by the Makefile, from the root of the checkout.
set -eu

lock=requirements/$1.lock
environment=$2
newest_python=$3

main() {
    if ! "$environment/bin/python" -c 'import pip' 2>/dev/null; then
        python=$(sh scripts/find_python.sh "$newest_python")
        echo "making $environment with $("$python" --version)"
        rm -rf "$environment"
        "$python" -m venv "$environment"
    fi
    # The lock names every package but torch's own for CUDA, so that pip takes what it names and looks no further.
    if grep -q '^torch==' "$lock"; then
        install_torch_for_cpu "$(pinned torch)" "$(pinned uv)"
    fi
    echo "installing $lock"
    pip_install --requirement "$lock"
    # The command alexnet-tf of this checkout, as it stands at any time.
    pip_install --no-deps --no-build-isolation --no-index --editable .
}

# The tests compare with PyTorch on CPU. Its build for CPU is a fraction of the common registry's for Linux, which needs
# CUDA packages of several GB besides. So it is looked for where pip looks anyway (say, a local folder of wheels), then
# at PyTorch's own registry, which uv knows by name; `==` of the lock accepts either. Without them (no network but a
# mirror of the common registry, say) the lock's line installs the large build: that works too, only slowly.
install_torch_for_cpu() { # install_torch_for_cpu TORCH-VERSION UV-VERSION
    if "$environment/bin/python" -m pip show torch 2>/dev/null | grep -q "^Version: $1"; then
        return
    fi
    if pip_install "torch==$1+cpu" 2>/dev/null; then
        return
    fi
    echo "no local CPU build of torch $1: trying PyTorch's own registry"
    pip_install "uv==$2"
    if UV_HTTP_RETRIES=1 "$environment/bin/python" -m uv pip install --quiet --python "$environment/bin/python" \
        --torch-backend cpu "torch==$1" 2>/dev/null; then
        return
    fi
    echo "no CPU build of torch $1 to be had: pip takes the registry's, on Linux with several GB of CUDA packages"
}

pinned() { # the version of package $1 in the lock
    sed -n "s/^$1==\([^ ;]*\).*/\1/p" "$lock"
}

pip_install() { # its errors shown, its warnings not
    "$environment/bin/python" -m pip install -qq --disable-pip-version-check "$@"
}

main
