// The interface by which driver.cpp calls a kernel whose arguments it does not know.
#pragma once
#include <tuple>
#include <utility>

template <class... A, size_t... I>
inline void emulated_call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(typename std::remove_reference<A>::type *)arguments[I]...);
}
template <class... A> inline void emulated_call(void (*kernel)(A...), void **arguments) {
    emulated_call(kernel, arguments, std::make_index_sequence<sizeof...(A)>());
}
// The size is 0 after the last argument.
template <class... A> inline size_t emulated_size(void (*)(A...), int index) {
    const size_t sizes[] = {sizeof(A)..., 0};
    return sizes[index];
}

#define EMULATED_CALL(kernel)                                                                                          \
    extern "C" void emulated_call_##kernel(void **arguments) { emulated_call(kernel, arguments); }                     \
    extern "C" size_t emulated_sizes_##kernel(int index) { return emulated_size(kernel, index); }
