#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dist/process_mesh.h"
#include "run/checked_file.h"
#include "run/checkpoint_folder.h"
#include "run/run_state.h"

namespace mumoe::run {

/// Elements of a tensor that lie one after the other in a file.
struct StoredPiece {
  std::size_t file = 0;     ///< Index into `Manifest::files`.
  std::int64_t offset = 0;  ///< Bytes from the file's beginning.
  /// The part of the whole tensor to which they belong: for each dim where it
  /// begins and how long it is.
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> extent;
  /// Of that part's elements, in row-major order, [first, first + count).
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// A tensor under its global name: together its pieces have each of its
/// elements once.
struct StoredTensor {
  std::vector<std::int64_t> shape;
  at::ScalarType dtype = at::kFloat;
  std::vector<StoredPiece> pieces = {};

  std::int64_t numel() const;
  std::int64_t bytes() const;
};

/// What a checkpoint holds, and where.
struct Manifest {
  RunState state;
  /// By which it was saved.
  dist::MeshShape mesh;
  std::vector<CheckedFile> files;
  std::map<std::string, StoredTensor> tensors;
  /// Sums of `files`, one for each, by which those that are damaged are rebuilt
  /// (run/parity.h); none where the run was not asked for them.
  std::vector<CheckedFile> parity = {};
};

/// The text of manifest.json, which has a checksum of its own.
std::string manifest_text(const Manifest& manifest);

/// The reverse. Throws `DamageError` that begins with `where`: the text is not
/// what was written, of a later version, or its pieces do not share out the
/// tensors, or lie outside their files or upon each other.
Manifest parse_manifest(std::string_view text, const std::string& where);

/// That of the checkpoint in the folder `checkpoint`; of one of the form before
/// (one file, state.safetensors) what its header says, without checksums.
/// Throws `DamageError` naming the file, also where the folder has the name of
/// another step.
Manifest read_manifest(const std::filesystem::path& checkpoint);

/// What it says of the run. Throws as `read_manifest` does.
RunState read_run_state(const std::filesystem::path& checkpoint);

/// The part of a manifest's JSON that says where the tensors of one file lie,
/// as each rank writes it, and what puts those of all ranks together.
std::string tensors_to_text(const std::map<std::string, StoredTensor>& tensors,
                            const CheckedFile& file);
/// Adds it to `manifest`, with the file. Throws `InternalError`.
void add_part(Manifest& manifest, std::string_view text);

/// The same of the parity file that each rank writes.
std::string parity_to_text(const CheckedFile& file);
void add_parity(Manifest& manifest, std::string_view text);

}  // namespace mumoe::run
