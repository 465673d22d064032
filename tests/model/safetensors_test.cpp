#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::model {
namespace {

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void expect_refused(const std::string& bytes, const std::string& reason) {
    write_file_atomically(path_, bytes);
    try {
      read_safetensors(path_);
      FAIL() << "was read: " << reason;
    } catch (const InputError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(path_.string()), std::string::npos) << text;
      EXPECT_NE(text.find(reason), std::string::npos) << text;
    }
  }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() /
                                  concat("mumoe_safetensors_test_", ::getpid());
  std::filesystem::path path_ = folder_ / "file.safetensors";
};

TEST_F(Safetensors, ComeBackAsTheyWere) {
  NamedTensors named;
  named.metadata = {{"step", "7"}, {"text", "quotes \" and \n lines"}};
  for (const auto type :
       {at::kDouble, at::kFloat, at::kBFloat16, at::kLong, at::kInt}) {
    named.tensors[c10::toString(type)] =
        at::arange(6, at::kDouble).view({2, 3}).to(type);
  }
  named.tensors["transposed"] = at::arange(6, at::kDouble).view({2, 3}).t();
  named.tensors["empty"] = at::empty({0, 3});
  named.tensors["scalar"] = at::scalar_tensor(2.5);
  write_safetensors(path_, named);
  const NamedTensors read = read_safetensors(path_);
  EXPECT_EQ(read.metadata, named.metadata);
  EXPECT_EQ(read_safetensors_metadata(path_), named.metadata);
  ASSERT_EQ(read.tensors.size(), named.tensors.size());
  for (const auto& [name, tensor] : named.tensors) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read.at(name), tensor)) << name;
  }
}

TEST_F(Safetensors, BrokenFilesAreNamed) {
  NamedTensors named;
  named.tensors["w"] = at::ones({4});
  write_safetensors(path_, named);
  const std::string good = read_file(path_);
  expect_refused(good.substr(0, good.size() - 1), "outside the file");
  expect_refused(good.substr(0, 20), "truncated");
  expect_refused("abc", "truncated");
  std::string broken = good;
  broken[8] = 'x';
  expect_refused(broken, "not JSON");
  broken = good;
  broken.replace(broken.find("F32"), 3, "F99");
  expect_refused(broken, "F99");
  EXPECT_THROW(read_safetensors(folder_ / "missing"), InputError);
  EXPECT_THROW(named.at("v"), InputError);
}

}  // namespace
}  // namespace mumoe::model
