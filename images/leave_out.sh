#!/bin/sh
# Takes out of an environment what its wheels bring and nothing there uses. It runs in the layer that installs them, or nothing is saved.
# usage: leave_out.sh ENVIRONMENT
set -eu
cd "$1"
# Commands of libraries, and our own: what `pada` starts is not installed here. torchrun is how train_lora gets more GPUs.
find bin -mindepth 1 ! -name 'python*' ! -name torchrun -delete
cd lib/python3*/site-packages
# What a study runs, which needs SciPy for its tables, follows whole runs.
[ -d scipy ] || rm -rf pada_agent/pipelines
# Headers and tests; the folders of that name among licences are licences. CUDA's own headers stay: kernels are compiled at run time.
rm -rf torch/include numpy/_core/include pyarrow/include
find . -type d \( -name '*.dist-info' -prune -o \( -name test -o -name tests \) -prune -exec rm -r {} + \)
# protoc and tests in C++; the third is asked for by name whenever torch is imported.
if [ -d torch/bin ]; then find torch/bin -mindepth 1 ! -name torch_shm_manager -delete; fi
# Of Amazon's services S3, and the ways to its credentials: a role of the pod, a person's sign-on.
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name sso ! -name sso-oidc -exec rm -r {} +
