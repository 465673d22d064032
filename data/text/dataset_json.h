#pragma once

#include <string>

#include "base/error.h"
#include "data/text/prepare.h"

namespace mumoe::data {

/// The folder's token files are being prepared, or were when that ended.
struct Unfinished : InputError {
  using InputError::InputError;
};

/// Writes `data` as `data.folder`/dataset.json, atomically.
void write_dataset_json(const PreparedData& data);

/// The same before there are token files: until `write_dataset_json`, whoever
/// reads it is told that the folder is not finished.
void write_unfinished(const PreparedData& data);

/// What `folder`/dataset.json says; the token files are not looked at. Throws
/// `Unfinished`, or `InputError` naming the file and what is wrong with it.
PreparedData read_dataset_json(const std::filesystem::path& folder);

/// Whether `folder`/dataset.json is there and of another program.
bool is_foreign(const std::filesystem::path& folder);

/// `source` as dataset.json holds it: what is not UTF-8 replaced.
std::string as_recorded(const std::string& source);

}  // namespace mumoe::data
