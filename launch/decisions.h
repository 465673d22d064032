#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "launch/study_data.h"

namespace mumoe::launch {

// What decisions of a classifier are about. All throw `InputError`.

/// The class called `name`, as of --target; of two classes the second one
/// unless it is named.
std::int64_t target_class(const std::string& name,
                          const std::vector<std::string>& names);

/// Of each item of `data`, whether the attribute `group`, as of --group, is
/// true of it.
std::vector<std::uint8_t> groups_of(const StudyData& data,
                                    const std::string& group);

/// Where the target's logit is the largest of logits [B, K], by how much; else
/// how much it lacks. [B] fp64 on the host.
at::Tensor margins_of(const at::Tensor& logits, std::int64_t target);

/// All elements, fp64 on the host, row-major.
std::vector<double> numbers_of(const at::Tensor& tensor);

}  // namespace mumoe::launch
