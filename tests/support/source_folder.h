#pragma once

namespace mumoe::testing {

/// The clone that the tests were built from. One file knows it, so that the
/// compiler cache has the others of every clone.
const char* source_folder();

}  // namespace mumoe::testing
