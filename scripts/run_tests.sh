#!/bin/sh
# Runs the tests, less the slow ones, with the Python that is named:
#
#     sh scripts/run_tests.sh .venv/bin/python
#
# Two processes side by side, each file whole in one of them, and in parts: TensorFlow keeps what memory it once had
# until its process ends, and all of the tests in the same two would take twice the 8 GB that they may. All parts run
# even if one fails.
set -u

python=$1
failed=""

part() { # part PYTEST-ARGUMENT...
    "$python" -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile -m "not slow" "$@" || failed="$failed $*;"
}

rooms=tests/alexnet_tf
part $rooms/networks $rooms/evaluation $rooms/pictures $rooms/weights
part $rooms --ignore $rooms/networks --ignore $rooms/evaluation --ignore $rooms/pictures --ignore $rooms/weights \
    --ignore $rooms/serving
part $rooms/serving/test_[a-o]*.py
part $rooms/serving/test_[p-z]*.py
part tests/faults
part tests --ignore tests/alexnet_tf --ignore tests/faults

if [ -n "$failed" ]; then
    echo "failed: $failed the messages are above"
    exit 1
fi
