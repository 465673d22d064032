#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "study/predict/fit.h"
#include "study/predict/machine.h"
#include "study/predict/memory_estimate.h"
#include "study/predict/step_time.h"

namespace mumoe::study {

/// What is looked for of the CPUs of a machine: rates of this program's steps,
/// from where, and within which bounds.
std::vector<Unknown> time_unknowns();

/// Rates by values of `time_unknowns`, in `dtype`, of one of `ranks` on a host,
/// which share its memory and heat.
Rates cpu_rates(std::span<const double> values,
                at::ScalarType dtype,
                int ranks);

/// Of the link between ranks, bytes a second, by the same values.
double link_of(std::span<const double> values);

/// A host as a machine: all ranks are in one node, whose memory is the link.
Machine cpu_machine(double peak_flops, double link_bandwidth);

/// The same of the memory of a process.
std::vector<Unknown> memory_unknowns();

/// Bytes of a process, one of `ranks`, that trains what `memory` says; with
/// `images`, it holds a set of them. By values of `memory_unknowns`.
double memory_of(const MemoryEstimate& memory,
                 int ranks,
                 bool images,
                 std::span<const double> values);

}  // namespace mumoe::study
