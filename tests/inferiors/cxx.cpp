// SPDX-License-Identifier: Apache-2.0
// Prints "ready ADDRESS LENGTH", writes a field of each node on a line of input,
// prints "done SUM", runs to the end of its input.
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace shop
{

struct Node {
	long key;
	long price;
	void setPrice(long value);
};

__attribute__((noinline)) void Node::setPrice(long value)
{
	price = value;
	__asm__ volatile("" ::: "memory");
}

} // namespace shop

std::vector<shop::Node> nodes(100000);

int main()
{
	char line[64];

	for (size_t i = 0; i < nodes.size(); i++)
		nodes[i].key = static_cast<long>(i);
	std::printf("ready %p %zu\n", static_cast<void *>(nodes.data()),
		    nodes.size() * sizeof(shop::Node));
	std::fflush(stdout);
	while (std::fgets(line, sizeof(line), stdin)) {
		for (size_t i = 0; i < 5; i++)
			nodes[i * 10000].setPrice(static_cast<long>(i + 1));
		long sum = 0;
		for (const auto &node : nodes)
			sum += node.key + node.price;
		std::printf("done %ld\n", sum);
		std::fflush(stdout);
	}
	return 0;
}
