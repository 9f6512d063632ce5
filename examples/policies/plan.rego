# One rule for Open Policy Agent, over the JSON plan:
#
#     reconciler plan --format json > plan.json
#     opa eval --data plan.rego --input plan.json 'data.reconciler.deny'
package reconciler

# The plan deletes a project, or an object with data in it.
deny contains message if {
	some change in input.resource_changes
	"delete" in change.change.actions
	change.type in {"Project", "VectorStore", "Container"}
	message := sprintf("%s would be deleted", [change.address])
}

# A spend limit is raised to more than twice of what it was.
deny contains message if {
	some change in input.resource_changes
	change.type == "SpendLimit"
	change.change.after.threshold_amount > 2 * change.change.before.threshold_amount
	message := sprintf("%s would be more than doubled", [change.address])
}
