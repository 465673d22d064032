#include "run/torch_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/source_folder.h"

namespace mumoe::run {
namespace {

/// Written by write.py beside it.
std::filesystem::path fixture() {
  return std::filesystem::path(testing::source_folder()) /
         "tests/run/torch_file/old.pth";
}

TEST(TorchFile, HasTheTensorsOfTheDict) {
  const NamedTensors named = read_torch_file(fixture());
  EXPECT_EQ(named.tensors.size(), 5u);  // step is none
  const at::Tensor rows = at::arange(6, at::kFloat).view({2, 3});
  EXPECT_TRUE(named.at("rows").equal(rows));
  EXPECT_TRUE(named.at("columns").equal(rows.t()));
  EXPECT_TRUE(named.at("last").equal(rows[1][2]));
  EXPECT_EQ(named.at("count").item<std::int64_t>(), std::int64_t{1} << 40);
  EXPECT_EQ(named.at("half").scalar_type(), at::kHalf);
  EXPECT_EQ(named.at("half")[1].item<double>(), -2);
}

TEST(TorchFile, RefusesWhatIsCutOffOrSomethingElse) {
  const std::string whole = read_file(fixture());
  const testing::ScratchFolder folder;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto file = folder.write("cut.pth", whole.substr(0, size));
    EXPECT_THROW(read_torch_file(file), InputError) << size;
  }
  const auto refused = [&](const std::string& bytes, const std::string& what) {
    testing::expect_input_error(
        [&] { read_torch_file(folder.write("other.pth", bytes)); },
        {"other.pth: byte", what, "until PyTorch 1.6"});
  };
  refused("PK\3\4", "code 80");  // the zip archives since
  std::string other = whole;
  other.replace(other.find("_rebuild_tensor_v2"), 18, "_rebuild_anything!");
  refused(other, "a call of torch._utils _rebuild_anything!");
}

// Whatever a byte is changed to: tensors, or one line.
TEST(TorchFile, SurvivesAnyByte) {
  const std::string whole = read_file(fixture());
  const testing::ScratchFolder folder;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {1, 0x80}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      try {
        read_torch_file(folder.write("changed.pth", bytes));
      } catch (const InputError&) {
      }
    }
  }
}

}  // namespace
}  // namespace mumoe::run
