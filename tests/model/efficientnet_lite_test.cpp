// EfficientNet-Lite0 against the package efficientnet-lite-pytorch: features
// and logits of made-up images with made-up weights, as tests/reference/
// make_efficientnet.py wrote them.
#include "model/efficientnet_lite.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "tests/support/source_folder.h"

namespace mumoe::model {
namespace {

using at::Tensor;

/// Evenly from -0.5 to 0.5, by the name and the element's number.
Tensor made_up(const std::string& name, std::vector<std::int64_t> shape) {
  std::uint32_t seed = 2166136261u;
  for (const char byte : name) {
    seed = (seed ^ static_cast<std::uint8_t>(byte)) * 16777619u;
  }
  Tensor tensor = at::empty(shape, at::kFloat);
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    std::uint32_t x = static_cast<std::uint32_t>(i) * 2654435761u + seed;
    x = (x ^ (x >> 15)) * 2246822519u;
    x ^= x >> 13;
    tensor.data_ptr<float>()[i] = static_cast<float>(x / 4294967296.0 - 0.5);
  }
  return tensor;
}

Tensor weight(const std::string& name, const std::vector<std::int64_t>& shape) {
  const Tensor even = made_up(name, shape);
  if (name.ends_with("running_var")) return 1 + 0.8 * even;
  if (shape.size() == 1) {
    const bool scale =
        name.find("_bn") != name.npos && name.ends_with("weight");
    return 0.4 * even + (scale ? 1 : 0);
  }
  const std::int64_t inputs = std::accumulate(shape.begin() + 1,
                                              shape.end(),
                                              std::int64_t{1},
                                              std::multiplies<>());
  return even * std::sqrt(24.0 / static_cast<double>(inputs));
}

struct Golden {
  Golden() {
    file = read_safetensors(std::filesystem::path(testing::source_folder()) /
                            "tests/golden/efficientnet_lite0.safetensors");
    for (const auto& [name, text] : file.metadata) {
      std::vector<std::int64_t> shape;
      std::istringstream parts(text);
      for (std::string part; std::getline(parts, part, ',');) {
        shape.push_back(std::stoll(part));
      }
      weights.tensors[name] = weight(name, shape);
    }
  }
  NamedTensors file;
  NamedTensors weights;
};

TEST(EfficientNetLite, HasTheFeaturesAndLogitsOfThePackage) {
  const Golden golden;
  const EfficientNetLite net(golden.weights);
  const Tensor images = 4 * made_up("images", {2, 3, 64, 64});
  EXPECT_LT(
      testing::relative_error(net.features(images), golden.file.at("features")),
      1e-5);
  EXPECT_LT(
      testing::relative_error(net.logits(images), golden.file.at("logits")),
      1e-5);
  // Each image by itself.
  EXPECT_LT(testing::relative_error(net.features(images.narrow(0, 1, 1)),
                                    golden.file.at("features").narrow(0, 1, 1)),
            1e-5);
}

TEST(EfficientNetLite, RefusesOtherWeights) {
  Golden golden;
  golden.weights.tensors["_conv_head.weight"] = at::zeros({1280, 319, 1, 1});
  testing::expect_input_error(
      [&] { EfficientNetLite{golden.weights}; },
      {"_conv_head.weight is [1280, 319, 1, 1]", "[1280, 320, 1, 1]"});
  golden.weights.tensors.erase("_blocks.3._bn2.running_var");
  testing::expect_input_error([&] { EfficientNetLite{golden.weights}; },
                              {"_blocks.3._bn2.running_var"});
}

}  // namespace
}  // namespace mumoe::model
