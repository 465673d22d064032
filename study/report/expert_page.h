#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "study/experts/expert_study.h"

namespace mumoe::study {

inline constexpr char kExpertPage[] = "experts.html";
/// Bytes that a page has at most.
inline constexpr std::size_t kMostPageBytes = 10'000'000;

/// One HTML page that needs nothing else and asks for nothing: every expert by
/// its examples, samples and prompts by the experts that worked at them, the
/// tree of a hierarchy, and the run beside another. Shows fewer examples of
/// each expert than there are where they would not fit into `most` bytes, and
/// says so.
std::string expert_page(const ExpertStudy& study,
                        std::size_t most = kMostPageBytes);

/// The data of that page, as JSON on one line, with at most `per_expert`
/// examples of each kind.
std::string expert_page_data(const ExpertStudy& study, std::int64_t per_expert);

/// Writes the page into `folder`, which is made if need be, and beside it its
/// chart as experts.svg and experts.png. A file appears whole or not at all.
/// Throws `InputError` for a file that cannot be written.
void write_expert_page(const std::filesystem::path& folder,
                       const ExpertStudy& study);

}  // namespace mumoe::study
