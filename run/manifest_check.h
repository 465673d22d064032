#pragma once

#include <string>

#include "run/manifest.h"

namespace mumoe::run {

// Whether what a manifest says fits together. All throw `DamageError` that
// begins with `where`.

/// The shape of a tensor must be of a size that there can be, and its pieces
/// must have each of its elements once.
void require_shared_out(const StoredTensor& tensor, const std::string& where);

/// Pieces must lie in their files, and no two upon each other.
void require_places(const Manifest& manifest, const std::string& where);

}  // namespace mumoe::run
