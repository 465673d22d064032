#pragma once

// For the project's .cu files in a build with simulated GPUs, which g++
// compiles with this before them: a launch is queued on its stream, and the
// kernel runs there by tests/fakes/cuda_emulation.h.

#include "tests/fakes/cuda_emulation.h"
#include "tests/fakes/sim_launch_queue.h"

#include <cstddef>
#include <cstring>
#include <vector>

namespace mumoe::fakes {

/// The words of `argument`, a number, a pointer or a struct of such.
template <class T>
void add_words(const T& argument, std::vector<const void*>& words) {
  const char* bytes = reinterpret_cast<const char*>(&argument);
  for (std::size_t at = 0; at + sizeof(void*) <= sizeof(T);
       at += sizeof(void*)) {
    const void* word = nullptr;
    std::memcpy(&word, bytes + at, sizeof(word));
    words.push_back(word);
  }
}

template <class... Parameters, class... Arguments>
cudaError_t launch_later(const char* name,
                         const cudaLaunchConfig_t* config,
                         void (*kernel)(Parameters...),
                         Arguments... arguments) {
  const unsigned threads = config->blockDim.x;
  if (threads == 0 || threads > 1024 || config->gridDim.x == 0) {
    return cudaErrorInvalidConfiguration;
  }
  std::vector<const void*> words;
  (add_words(arguments, words), ...);
  queue_kernel(name,
               config->stream,
               words,
               [config = *config, kernel, arguments...] {
                 cudaLaunchKernelEx(&config, kernel, arguments...);
               });
  return cudaSuccess;
}

}  // namespace mumoe::fakes

// Where mumoe/kernels/cuda_launch.h calls this, `name` is the kernel's.
#define cudaLaunchKernelEx(...) ::mumoe::fakes::launch_later(name, __VA_ARGS__)
