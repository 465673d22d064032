#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace mumoe::data {

/// The folder `cache`/data/`name`, which `make` fills at first use. It appears
/// whole or not at all; one process at a time makes it, the others say on
/// stderr that they wait for one that `does` ("unpacks novels"). What else
/// `make` would write another time needs another name. Throws `InputError`.
std::filesystem::path made_once(
    const std::filesystem::path& cache,
    const std::string& name,
    const std::string& does,
    const std::function<void(const std::filesystem::path& into)>& make);

}  // namespace mumoe::data
