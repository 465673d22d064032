// Precompiled once for every file that uses LibTorch. Files still include what
// they use; this only makes it cheap. Autograd's headers are not in it: with
// them a file takes 2 s more, and few need them.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>
