// SPDX-License-Identifier: Apache-2.0
// As cxx.cpp, in Go.
package main

import (
	"bufio"
	"fmt"
	"os"
	"unsafe"
)

type Node struct {
	key   int64
	price int64
}

//go:noinline
func setPrice(node *Node, value int64) {
	node.price = value
}

func main() {
	nodes := make([]Node, 100000)
	for i := range nodes {
		nodes[i].key = int64(i)
	}
	fmt.Printf("ready %p %d\n", &nodes[0], uintptr(len(nodes))*unsafe.Sizeof(nodes[0]))
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		for i := 0; i < 5; i++ {
			setPrice(&nodes[i*10000], int64(i+1))
		}
		var sum int64
		for i := range nodes {
			sum += nodes[i].key + nodes[i].price
		}
		fmt.Printf("done %d\n", sum)
	}
}
