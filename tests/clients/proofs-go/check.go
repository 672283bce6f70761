// Checks signed checkpoints, inclusion and consistency with the code behind Go's checksum database: golang.org/x/mod.
// A proof that is changed must fail as well. Run with the file of evidence: go run check.go FILE.
package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type evidence struct {
	Key    string
	Notes  []string
	Events []struct {
		Entry          string
		InclusionProof struct {
			LeafIndex, TreeSize int64 `json:",string"`
			RootHash            string
			Hashes              []string
		}
	}
	Consistency []struct {
		From, To     int64 `json:",string"`
		FromRootHash string
		ToRootHash   string
		Hashes       []string
	}
	Exports []struct {
		Key, Note string
		Entries   []string
	}
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	must(err)
	var given evidence
	must(json.Unmarshal(text, &given))
	roots := checkNotes(given.Key, given.Notes)
	checkInclusion(given, roots)
	checkConsistency(given, roots)
	for _, export := range given.Exports {
		checkExport(checkNotes(export.Key, []string{export.Note}), export.Entries)
	}
	fmt.Printf("%d notes, %d inclusion proofs, %d consistency proofs, %d exports\n",
		len(given.Notes), len(given.Events), len(given.Consistency), len(given.Exports))
}

// checkNotes opens the signed notes and returns the roots that they sign, by tree size.
func checkNotes(key string, notes []string) map[int64]tlog.Hash {
	verifier, err := note.NewVerifier(strings.TrimSpace(key))
	must(err)
	roots := map[int64]tlog.Hash{}
	for _, text := range notes {
		opened, err := note.Open([]byte(text), note.VerifierList(verifier))
		must(err)
		lines := strings.Split(opened.Text, "\n")
		check(lines[0] == verifier.Name(), "the origin is not the key's name")
		size, err := strconv.ParseInt(lines[1], 10, 64)
		must(err)
		root, err := base64.StdEncoding.DecodeString(lines[2])
		must(err)
		roots[size] = tlog.Hash(*(*[tlog.HashSize]byte)(root))
		changed := strings.Replace(text, "\n"+lines[1]+"\n", "\n"+lines[1]+"0\n", 1)
		_, err = note.Open([]byte(changed), note.VerifierList(verifier))
		check(err != nil, "a changed note was taken")
	}
	return roots
}

func checkInclusion(given evidence, roots map[int64]tlog.Hash) {
	for index, event := range given.Events {
		proof := event.InclusionProof
		root := hash(proof.RootHash)
		check(proof.LeafIndex == int64(index), "the leaves are out of order")
		check(root == roots[proof.TreeSize], "the root is not the signed one")
		leaf := tlog.RecordHash([]byte(event.Entry))
		path := hashes(proof.Hashes)
		must(tlog.CheckRecord(path, proof.TreeSize, root, proof.LeafIndex, leaf))
		changed := tlog.RecordHash([]byte(event.Entry + " "))
		check(tlog.CheckRecord(path, proof.TreeSize, root, proof.LeafIndex, changed) != nil, "a changed entry was taken")
	}
}

func checkConsistency(given evidence, roots map[int64]tlog.Hash) {
	for _, proof := range given.Consistency {
		old, new := hash(proof.FromRootHash), hash(proof.ToRootHash)
		if signed, known := roots[proof.To]; known {
			check(new == signed, "the root is not the signed one")
		}
		must(tlog.CheckTree(hashes(proof.Hashes), proof.To, new, proof.From, old))
		old[0] ^= 1
		check(tlog.CheckTree(hashes(proof.Hashes), proof.To, new, proof.From, old) != nil, "a changed root was taken")
	}
}

// checkExport grows a tree from the entries and compares its root with the signed one.
func checkExport(roots map[int64]tlog.Hash, entries []string) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for number, entry := range entries {
		added, err := tlog.StoredHashes(int64(number), []byte(entry), read)
		must(err)
		stored = append(stored, added...)
	}
	size := int64(len(entries))
	root, err := tlog.TreeHash(size, read)
	must(err)
	signed, known := roots[size]
	check(known && root == signed, "the export is not what was signed")
}

func hash(text string) tlog.Hash {
	decoded, err := hex.DecodeString(text)
	must(err)
	return tlog.Hash(*(*[tlog.HashSize]byte)(decoded))
}

func hashes(texts []string) []tlog.Hash {
	var found []tlog.Hash
	for _, text := range texts {
		found = append(found, hash(text))
	}
	return found
}

func check(holds bool, message string) {
	if !holds {
		must(fmt.Errorf("%s", message))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
