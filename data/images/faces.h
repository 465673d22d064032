#pragma once

#include <filesystem>
#include <vector>

namespace mumoe::data {

/// Draws `count` synthetic faces, of nobody, with what is true of each, and
/// writes them to `into` in the form of CelebA (celeba.h): python3 runs
/// draw_faces.py, which this program carries, on so many processes. `packages`
/// are the folders in which the wheels dicebear-core, -schema and -styles lie.
/// Face i is the same however many there are. Throws `InputError` with what
/// python3 says, such as that librsvg is missing.
void write_faces(const std::vector<std::filesystem::path>& packages,
                 int count,
                 const std::filesystem::path& into,
                 int processes);

}  // namespace mumoe::data
