#pragma once

#include "data/prepare.h"

namespace mumoe::data {

/// Writes `data` as `data.folder`/dataset.json, atomically.
void write_dataset_json(const PreparedData& data);

/// What `folder`/dataset.json says; the token files are not looked at. Throws
/// `InputError` naming the file and what is wrong with it.
PreparedData read_dataset_json(const std::filesystem::path& folder);

}  // namespace mumoe::data
