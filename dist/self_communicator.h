#pragma once

#include <memory>

#include "dist/communicator.h"

namespace mumoe::dist {

/// The group of one rank: every operation is the identity.
std::unique_ptr<Communicator> make_self_communicator(
    at::Device device,
    std::string axis = "world");

}  // namespace mumoe::dist
