// Command judges says how the tools around rolectl see its objects: Flux and kpt by kstatus, Argo CD by a health
// script that runs in the Lua that Argo CD itself uses.
//
//	kubectl get iamroles -A -o json | judges kstatus
//	kubectl get iamroles -A -o json | judges argo-cd FOLDER
//	kubectl get iamroles -A -o json | judges flux FILE
//
// FILE is a Kustomization of Flux with healthCheckExprs; kinds that it does not name are left out.
// FOLDER is laid out as Argo CD's resource_customizations: GROUP/KIND/health.lua. Prints a JSON object from
// kind/namespace/name to {"status", "message"}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "judges:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	judge, err := judgeOf(args)
	if err != nil {
		return err
	}
	var list unstructured.UnstructuredList
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("a list from kubectl is wanted: %w", err)
	}
	verdicts := map[string]verdict{}
	for i := range list.Items {
		object := &list.Items[i]
		said, err := judge(object)
		key := fmt.Sprintf("%s/%s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		verdicts[key] = said
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

func judgeOf(args []string) (func(*unstructured.Unstructured) (verdict, error), error) {
	switch {
	case len(args) == 1 && args[0] == "kstatus":
		return kstatus, nil
	case len(args) == 2 && args[0] == "flux":
		return flux(args[1])
	case len(args) == 2 && args[0] == "argo-cd":
		return func(object *unstructured.Unstructured) (verdict, error) { return argoCD(args[1], object) }, nil
	}
	return nil, fmt.Errorf("say `kstatus`, `argo-cd FOLDER` or `flux FILE`")
}

func kstatus(object *unstructured.Unstructured) (verdict, error) {
	result, err := status.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	return verdict{Status: result.Status.String(), Message: result.Message}, nil
}

// By the expressions of a Kustomization, which Flux asks in place of kstatus.
func flux(file string) (func(*unstructured.Unstructured) (verdict, error), error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return nil, err
	}
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, check := range kustomization.Spec.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, err
		}
		evaluators[check.Kind] = evaluator
	}
	return func(object *unstructured.Unstructured) (verdict, error) {
		evaluator, ok := evaluators[object.GetKind()]
		if !ok {
			return verdict{}, nil
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			// As Flux's poller has it, which asks again.
			return verdict{Status: "Unknown", Message: err.Error()}, nil
		}
		return verdict{Status: result.Status.String(), Message: result.Message}, nil
	}, nil
}

// As Argo CD runs it: only the base, string, table and math libraries, the object as `obj`, and a table returned.
func argoCD(folder string, object *unstructured.Unstructured) (verdict, error) {
	kind := object.GroupVersionKind()
	script, err := os.ReadFile(filepath.Join(folder, kind.Group, kind.Kind, "health.lua"))
	if err != nil {
		return verdict{}, err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.MathLibName:   lua.OpenMath,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		if err := state.PCall(1, 0, nil); err != nil {
			return verdict{}, err
		}
	}
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(string(script)); err != nil {
		return verdict{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("health.lua returned %s, not a table", state.Get(-1).Type())
	}
	return verdict{
		Status:  lua.LVAsString(table.RawGetString("status")),
		Message: lua.LVAsString(table.RawGetString("message")),
	}, nil
}

func value(state *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		table := state.NewTable()
		for _, item := range v {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
