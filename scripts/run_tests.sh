#!/bin/sh
# Runs the tests, less the slow ones, with the Python that is named:
#
#     sh scripts/run_tests.sh .venv/bin/python
#
# Two or three processes side by side, each file whole in one of them, and in parts: TensorFlow keeps what memory it
# once had until its process ends, and all of the tests in the same few would take twice the 8 GB that they may. All
# parts run even if one fails.
set -u

python=$1
failed=""

part() { # part PROCESSES PYTEST-ARGUMENT...
    processes=$1
    shift
    "$python" -m pytest -n "$processes" --dist loadfile -m "not slow" "$@" || failed="$failed $*;"
}

rooms=tests/alexnet_tf
part 2 $rooms/networks $rooms/evaluation $rooms/pictures
part 2 $rooms --ignore $rooms/networks --ignore $rooms/evaluation --ignore $rooms/pictures --ignore $rooms/weights \
    --ignore $rooms/serving
part 2 $rooms/serving/test_[a-o]*.py $rooms/weights
part 2 $rooms/serving/test_[p-z]*.py
part 3 tests/faults # which wait more than they compute
part 3 tests --ignore tests/alexnet_tf --ignore tests/faults

if [ -n "$failed" ]; then
    echo "failed: $failed the messages are above"
    exit 1
fi
