// Asks the functions of a Go block of the documents about a genuine delivery and a forged one. Argument: a JSON object with `secret`,
// `headers`, `body`, `forged`. Prints a list of [genuine, forged] verdicts.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"time"
)

func main() {
	var given struct {
		Secret, Body, Forged string
		Headers              map[string]string
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &given); err != nil {
		panic(err)
	}
	header := http.Header{}
	for name, value := range given.Headers {
		header.Set(name, value)
	}
	var data, standard []bool
	for _, body := range []string{given.Body, given.Forged} {
		data = append(data, VerifyData([]byte(body), header.Get("X-Webhook-Signature"), given.Secret))
		standard = append(standard, VerifyStandard([]byte(body), header, given.Secret, 5*time.Minute))
	}
	json.NewEncoder(os.Stdout).Encode([][]bool{data, standard})
}
