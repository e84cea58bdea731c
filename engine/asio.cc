// The one place where Boost.Asio's own code is compiled (BOOST_ASIO_SEPARATE_COMPILATION); Beast needs parts of it.
#include <boost/asio/impl/src.hpp>
