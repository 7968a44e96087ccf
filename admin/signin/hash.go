package signin

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const (
	maxPassword = 1024 // bytes
	maxName     = 256

	// Of what a file may ask of us for one sign-in: memory in KiB, and how much of it is
	// worked through in all, which is a second or two.
	maxMemory  = 256 << 10
	maxWork    = 1 << 20
	maxThreads = 16
	maxCost    = 14 // of bcrypt; each more is twice the time
)

// What Hash makes: less memory than most give, so that a few sign-ins at once do not
// cost the process more than all it keeps of the past.
const (
	hashMemory  = 19 << 10 // KiB
	hashPasses  = 2
	hashThreads = 1
	saltBytes   = 16
	hashBytes   = 32
)

// Hash returns what stands for a password in the users' file: argon2id, in the PHC
// string format. The password has 1 to 1024 bytes.
func Hash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("the password has %d bytes: it must not have more than %d", len(password), maxPassword)
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	hash := argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashThreads, hashBytes)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashThreads, b64(salt), b64(hash)), nil
}

// hashed is a password's hash.
type hashed interface {
	// matches reports whether it is the hash of password. It takes as long if not.
	matches(password string) bool
}

type bcryptHash string

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword([]byte(h), []byte(password)) == nil
}

type argon2Hash struct {
	memory, passes uint32 // memory in KiB
	threads        uint8
	salt, hash     []byte
}

func (h *argon2Hash) matches(password string) bool {
	// #nosec G115 -- held against the bounds of each above, or a hash of at most 64 bytes
	is := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(is, h.hash) == 1
}

// parseHash reads a hash. The error never shows it: it may be a password that was
// written there by mistake.
func parseHash(text string) (hashed, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2(text)
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	}
	return nil, errors.New("must be a hash, by bcrypt or argon2id, as --hash-password prints it")
}

func parseBcrypt(text string) (hashed, error) {
	const length = 60
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != length || strings.Trim(text[len("$2a$10$"):], alphabet) != "" {
		return nil, errors.New("the bcrypt hash is damaged")
	}
	if cost > maxCost {
		return nil, fmt.Errorf("the bcrypt hash has cost %d: must not be more than %d, or each sign-in would take seconds", cost, maxCost)
	}
	return bcryptHash(text), nil
}

// parseArgon2 reads $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH.
func parseArgon2(text string) (hashed, error) {
	damaged := errors.New("the argon2id hash is damaged")
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return nil, damaged
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("the argon2id hash must be of version %d", argon2.Version)
	}
	numbers := strings.Split(parts[3], ",")
	if len(numbers) != 3 {
		return nil, damaged
	}
	var mtp [3]uint64
	for i, key := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(numbers[i], key)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil {
			return nil, damaged
		}
		mtp[i] = n
	}
	m, t, p := mtp[0], mtp[1], mtp[2]
	if p < 1 || p > maxThreads || m < 8*p || m > maxMemory || t < 1 || m*t > maxWork {
		return nil, fmt.Errorf("the argon2id hash asks for m=%d,t=%d,p=%d: p must be 1 to %d, m from 8p to %d (KiB), and m×t at most %d, or a sign-in would take too much",
			m, t, p, maxThreads, maxMemory, maxWork)
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	hash, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(hash) < 16 || len(hash) > 64 {
		return nil, damaged
	}
	// #nosec G115 -- held against the bounds of each above, or a hash of at most 64 bytes
	return &argon2Hash{memory: uint32(m), passes: uint32(t), threads: uint8(p), salt: salt, hash: hash}, nil
}
