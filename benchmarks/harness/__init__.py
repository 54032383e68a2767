# SPDX-License-Identifier: MIT
"""The machinery of benchmarks/run: arms, a broker, processes measured, workloads, figures."""
